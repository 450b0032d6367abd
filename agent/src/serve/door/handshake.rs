//! The beginning of a connection: TLS, where there is any.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy, sink},
    time::timeout,
};
use tokio_rustls::rustls::{self, CertificateError};

use super::{Door, Peer, Traffic};
use crate::{
    metrics::http::{AuthMethod, AuthReason},
    serve::wire::{Plain, Stream},
    telemetry::log_event,
};

/// Bytes of a request without TLS that are taken before it is cut.
const MOST_OF_A_REQUEST: u64 = 64 << 10;
/// How long a client may take for it.
const LIMIT: Duration = Duration::from_secs(10);
/// The first byte of a client that speaks TLS: a record of a handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;

/// What the client of a connection talks through, and what it was let in by ([`Door::admission`]); `None` if it has not
/// agreed.
pub(in crate::serve) async fn handshake<S: Plain>(
    mut stream: S,
    peer: Peer,
    door: &Door,
    traffic: &Arc<Traffic>,
) -> Option<(Box<dyn Stream>, Option<[u8; 32]>)> {
    let Some((acceptor, asks_clients, admission)) = door.acceptor() else {
        return Some((Box::new(stream), None));
    };
    let mut trying = None;
    let agreed = timeout(LIMIT, async {
        let Some(first) = stream.first_byte().await? else {
            // A probe that only wants to know whether somebody listens.
            return Ok(None);
        };
        if first != HANDSHAKE {
            let text = b"HTTP/1.0 400 Bad Request\r\n\r\nthis port speaks TLS: ask with https://\n";
            stream.write_all(text).await?;
            stream.shutdown().await?;
            traffic.refused(400);
            // What is left unread would have the kernel reset the connection, and the answer be lost.
            let mut rest = stream.take(MOST_OF_A_REQUEST);
            let _not_interested = copy(&mut rest, &mut sink()).await;
            return Ok(None);
        }
        trying = Some(Trying(Some(Arc::clone(traffic))));
        acceptor.accept(stream).await.map(Some)
    });
    let error = match agreed.await {
        Ok(Ok(Some(stream))) => {
            if let Some(trying) = trying {
                trying.has_agreed();
            }
            if asks_clients && stream.get_ref().1.peer_certificates().is_some() {
                traffic.admitted(AuthMethod::Certificate);
            }
            return Some((Box::new(stream), Some(admission)));
        }
        Ok(Ok(None)) => return None,
        Ok(Err(error)) => error,
        Err(_) => io::ErrorKind::TimedOut.into(),
    };
    if let Some(reason) = reason(&error) {
        traffic.turned_away(AuthMethod::Certificate, reason);
        traffic.refusals().say_of_certificate(peer, reason);
    }
    log_event!(ConnectionFailed, what = "TLS not agreed on", %error);
    None
}

/// A connection that has begun to agree on TLS. One that makes room for another meanwhile has failed, too.
struct Trying(Option<Arc<Traffic>>);

impl Trying {
    fn has_agreed(mut self) {
        self.0 = None;
    }
}

impl Drop for Trying {
    fn drop(&mut self) {
        if let Some(traffic) = &self.0 {
            traffic.handshake_failed();
        }
    }
}

/// What is wrong with a client's certificate, if that is why.
fn reason(error: &io::Error) -> Option<AuthReason> {
    use CertificateError::{
        ApplicationVerificationFailure, Expired, ExpiredContext, NotValidYet, NotValidYetContext,
        UnknownIssuer,
    };
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::NoCertificatesPresented => AuthReason::Missing,
        rustls::Error::InvalidCertificate(wrong) => match wrong {
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. } => {
                AuthReason::Expired
            }
            ApplicationVerificationFailure => AuthReason::Name,
            UnknownIssuer => AuthReason::Untrusted,
            _ => AuthReason::Invalid,
        },
        _ => return None,
    })
}
