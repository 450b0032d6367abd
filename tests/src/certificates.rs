//! Certificates and the clients that have them: an authority, what it issues, and requests over TLS.

use std::{
    fs,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use crate::{
    http::{self, Response},
    peers::{connect_from, loopback},
};

/// How long a server may take for anything.
const LIMIT: Duration = Duration::from_secs(10);

/// Who issues certificates.
pub struct Authority {
    key: KeyPair,
    params: CertificateParams,
    pem: String,
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Issued {
    /// Writes both, first the one and then the other.
    pub fn write(&self, certificate: &Path, key: &Path) {
        fs::write(certificate, &self.certificate).expect("a file can be written");
        fs::write(key, &self.key).expect("a file can be written");
    }
}

impl Authority {
    /// A new one.
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::new(Vec::new()).expect("no names are names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate can be made");
        let pem = certificate.pem();
        Self { key, params, pem }
    }

    /// Its own certificate, written to a file.
    pub fn write(&self, path: PathBuf) -> PathBuf {
        fs::write(&path, &self.pem).expect("a file can be written");
        path
    }

    /// A certificate with these alternative names, which ends with a year.
    pub fn issue(&self, names: &[&str], last_year: i32) -> Issued {
        let key = KeyPair::generate().expect("a key can be made");
        let names = names.iter().map(|name| (*name).to_owned());
        let names: Vec<String> = names.collect();
        let mut params = CertificateParams::new(names).expect("they are names");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(last_year, 12, 31);
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer);
        Issued {
            certificate: certificate.expect("a certificate can be signed").pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A client that believes an authority, and may have a certificate of its own.
#[derive(Clone, Debug)]
pub struct Client {
    config: Arc<ClientConfig>,
    /// An address of loopback, as another machine has it.
    from: Ipv4Addr,
}

impl Client {
    /// One that shows a certificate, or none.
    pub fn new(believes: &Authority, own: Option<&Issued>) -> Self {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(believes.pem.as_bytes());
        roots
            .add(authority.expect("it is a certificate"))
            .expect("it is an authority's");
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(Issued { certificate, key }) => {
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
                let chain = vec![certificate.expect("it is a certificate")];
                let config = builder.with_client_auth_cert(chain, key.expect("it is a key"));
                config.expect("the key is the certificate's")
            }
        };
        Self {
            config: Arc::new(config),
            from: loopback(1),
        }
    }

    /// The same on another machine.
    #[must_use]
    pub fn from(&self, address: Ipv4Addr) -> Self {
        Self {
            from: address,
            ..self.clone()
        }
    }

    /// Asks for a path and does not wait for the answer.
    pub fn hang_up(&self, address: SocketAddr, path: &str, headers: &[(&str, &str)]) {
        let Ok(mut stream) = self.connect(address) else {
            return;
        };
        let lines = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"));
        let lines: String = lines.collect();
        let _not_heard = write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {address}\r\n{lines}\r\n"
        );
        let _gone = stream.flush();
    }

    fn connect(&self, address: SocketAddr) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let stream = connect_from(self.from, address)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        let name = ServerName::from(address.ip());
        let client = ClientConnection::new(Arc::clone(&self.config), name);
        Ok(StreamOwned::new(client.map_err(io::Error::other)?, stream))
    }

    /// Asks for a path, and has also the certificate that the server has shown.
    pub fn get(
        &self,
        address: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
    ) -> io::Result<(Response, Vec<u8>)> {
        let mut stream = self.connect(address)?;
        let response = http::exchange(&mut stream, &address.to_string(), path, headers)?;
        let shown = stream.conn.peer_certificates().unwrap_or_default();
        Ok((
            response,
            shown.first().map(|one| one.to_vec()).unwrap_or_default(),
        ))
    }
}
