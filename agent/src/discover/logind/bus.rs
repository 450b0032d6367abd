//! The connection to the bus: what logind is asked, and what it tells of its own accord.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::{self, Write as _},
    mem,
    pin::pin,
    time::Duration,
};

use futures_util::StreamExt;
use serde::Serialize;
use tokio::{select, time};
use zbus::{
    Connection, DynamicType, Message, MessageStream, OwnedObjectPath, OwnedVariant, connection,
    fdo, message,
    names::{InterfaceName, MemberName},
};

use crate::discover::platform::ErrorType;

/// For a connection, and for each answer. logind answers within a millisecond, and may wait some seconds
/// for a name service.
const LIMIT: Duration = Duration::from_secs(10);

const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const LOGIND: &str = "org.freedesktop.login1";
const LOGIND_PATH: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const SESSION: &str = "org.freedesktop.login1.Session";
const SYSTEMD: &str = "org.freedesktop.systemd1";
const UNITS: &str = "/org/freedesktop/systemd1/unit";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
/// When a unit began to be started the last time, and when it was active; microseconds of the monotonic clock.
const ACTIVATION: [&str; 2] = [
    "InactiveExitTimestampMonotonic",
    "ActiveEnterTimestampMonotonic",
];
/// For an answer of systemd, of which nothing but a phase of a login depends.
const SOON: Duration = Duration::from_secs(1);
const NO_SUCH_SESSION: &str = "org.freedesktop.login1.NoSuchSession";

/// The signals that are asked for.
const SUBSCRIPTIONS: [&str; 4] = [
    "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',\
     member='NameOwnerChanged',arg0='org.freedesktop.login1'",
    "type='signal',sender='org.freedesktop.login1',\
     interface='org.freedesktop.login1.Manager',member='SessionNew'",
    "type='signal',sender='org.freedesktop.login1',\
     interface='org.freedesktop.login1.Manager',member='SessionRemoved'",
    "type='signal',sender='org.freedesktop.login1',\
     interface='org.freedesktop.DBus.Properties',member='PropertiesChanged',\
     path_namespace='/org/freedesktop/login1/session',arg0='org.freedesktop.login1.Session'",
];

/// Id, user's number and name, seat, and path of the object of a session.
type Listed = (String, u32, String, String, OwnedObjectPath);

/// A session's properties, by name.
pub(super) type Properties = HashMap<String, OwnedVariant>;

/// Why something could not be learnt.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) kind: ErrorType,
    pub(super) reason: String,
}

impl Trouble {
    fn of(attempt: &str, error: &zbus::Error) -> Self {
        Self {
            kind: kind(error),
            reason: format!("{attempt}: {error}"),
        }
    }

    fn closed() -> Self {
        Self {
            kind: ErrorType::Unavailable,
            reason: "the bus has closed the connection".to_owned(),
        }
    }

    /// Whether nothing else can be learnt either.
    pub(super) fn is_of_connection(&self) -> bool {
        matches!(
            self.kind,
            ErrorType::Unavailable
                | ErrorType::Timeout
                | ErrorType::ServerTimeout
                | ErrorType::Unauthorized
        )
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// What signals have told since the last look.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Sessions that are new, have changed or are gone: their objects' paths.
    pub(super) sessions: BTreeSet<String>,
    /// logind has come, gone or been replaced.
    pub(super) owner: bool,
}

impl News {
    fn is_empty(&self) -> bool {
        self.sessions.is_empty() && !self.owner
    }

    /// What a signal says; one with another body than it must have says nothing.
    fn note(&mut self, message: &Message) {
        if message.message_type() != message::Type::Signal {
            return;
        }
        let header = message.header();
        let interface = header.interface().map(InterfaceName::as_str);
        let member = header.member().map(MemberName::as_str);
        match (interface, member) {
            (Some(BUS), Some("NameOwnerChanged")) => self.owner = true,
            (Some(MANAGER), Some("SessionNew" | "SessionRemoved")) => {
                let body = message.body();
                if let Ok((_id, path)) = body.deserialize::<(&str, zbus::ObjectPath<'_>)>() {
                    self.sessions.insert(path.to_string());
                }
            }
            (Some(PROPERTIES), Some("PropertiesChanged")) => {
                self.sessions.extend(header.path().map(ToString::to_string));
            }
            _ => {}
        }
    }
}

/// A connection with its subscriptions.
pub(super) struct Bus {
    connection: Connection,
    messages: MessageStream,
    news: News,
}

impl Bus {
    /// Connects and subscribes.
    pub(super) async fn connect(address: &str) -> Result<Self, Trouble> {
        let building = connection::Builder::address(address)
            .method_timeout(LIMIT)
            .build();
        let Ok(built) = time::timeout(LIMIT, building).await else {
            return Err(Trouble {
                kind: ErrorType::Timeout,
                reason: format!("the bus at {address} does not answer"),
            });
        };
        let connection = built
            .map_err(|error| Trouble::of(&format!("cannot use the bus at {address}"), &error))?;
        let mut bus = Self {
            messages: MessageStream::from(&connection),
            connection,
            news: News::default(),
        };
        for rule in SUBSCRIPTIONS {
            bus.call(BUS, BUS_PATH, BUS, "AddMatch", &rule)
                .await
                .map_err(|error| Trouble::of("cannot subscribe to logind's signals", &error))?;
        }
        Ok(bus)
    }

    /// The unique name of the logind that runs, if one does. What is addressed to that name does not make
    /// the bus start one.
    pub(super) async fn owner(&mut self) -> Result<Option<String>, Trouble> {
        let asked = self.call(BUS, BUS_PATH, BUS, "GetNameOwner", &LOGIND).await;
        match asked.and_then(|reply| reply.body().deserialize()) {
            Ok(owner) => Ok(Some(owner)),
            Err(zbus::Error::FDO(error)) if matches!(*error, fdo::Error::NameHasNoOwner(_)) => {
                Ok(None)
            }
            Err(error) => Err(Trouble::of("cannot find logind", &error)),
        }
    }

    /// The paths of all sessions' objects.
    pub(super) async fn sessions(&mut self, owner: &str) -> Result<Vec<String>, Trouble> {
        let asked = self
            .call(owner, LOGIND_PATH, MANAGER, "ListSessions", &())
            .await;
        let listed: Vec<Listed> = asked
            .and_then(|reply| reply.body().deserialize())
            .map_err(|error| Trouble::of("cannot list the sessions of logind", &error))?;
        Ok(listed
            .into_iter()
            .map(|(.., path)| path.to_string())
            .collect())
    }

    /// What logind says of one session; `None` when it has forgotten it.
    pub(super) async fn session(
        &mut self,
        owner: &str,
        path: &str,
    ) -> Result<Option<Properties>, Trouble> {
        let asked = self.call(owner, path, PROPERTIES, "GetAll", &SESSION).await;
        match asked.and_then(|reply| reply.body().deserialize()) {
            Ok(properties) => Ok(Some(properties)),
            Err(error) if kind(&error) == ErrorType::NotFound => Ok(None),
            Err(error) => Err(Trouble::of(
                &format!("cannot read {path} of logind"),
                &error,
            )),
        }
    }

    /// When a unit was started the last time: when that began, and when it was done, in microseconds of the monotonic
    /// clock. `None` where systemd does not say.
    pub(super) async fn activation(&mut self, unit: &str) -> Option<[u64; 2]> {
        let path = format!("{UNITS}/{}", label(unit));
        let mut moments = [0; 2];
        for (moment, property) in moments.iter_mut().zip(ACTIVATION) {
            let body = (UNIT, property);
            let asked = self.call(SYSTEMD, &path, PROPERTIES, "Get", &body);
            let reply = time::timeout(SOON, asked).await.ok()?.ok()?;
            let value: OwnedVariant = reply.body().deserialize().ok()?;
            *moment = u64::try_from(&value).ok()?;
        }
        Some(moments)
    }

    /// Waits until signals have told something. What they have told is not lost when this is given up.
    pub(super) async fn news(&mut self) -> Result<News, Trouble> {
        while self.news.is_empty() {
            match self.messages.next().await {
                Some(Ok(message)) => self.news.note(&message),
                Some(Err(error)) => return Err(Trouble::of("the bus is lost", &error)),
                None => return Err(Trouble::closed()),
            }
        }
        Ok(mem::take(&mut self.news))
    }

    async fn call<B>(
        &mut self,
        destination: &str,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> zbus::Result<Message>
    where
        B: Serialize + DynamicType,
    {
        let (connection, messages) = (&self.connection, &mut self.messages);
        let reply = connection.call_method(Some(destination), path, Some(interface), method, body);
        let mut reply = pin!(reply);
        loop {
            select! {
                biased;
                reply = &mut reply => return reply,
                // 64 signals that nobody takes would keep the connection from reading the reply.
                message = messages.next() => match message {
                    Some(Ok(message)) => self.news.note(&message),
                    Some(Err(_)) => {}
                    None => return reply.await,
                },
            }
        }
    }
}

/// A unit's name as a part of its object's path: letters and digits stay, all else is escaped (`bus_label_escape` of
/// systemd).
fn label(unit: &str) -> String {
    let mut label = String::new();
    for (at, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && at > 0) {
            label.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _written = write!(label, "_{byte:02x}");
        }
    }
    label
}

/// The kind of an error.
fn kind(error: &zbus::Error) -> ErrorType {
    use zbus::Error as E;
    match error {
        E::InputOutput(error) | E::Connection(error, _) => ErrorType::of_io(error),
        E::Handshake(_) => ErrorType::Unauthorized,
        E::FDO(error) => kind_of_bus(error),
        E::MethodError(name, ..) if name.as_str() == NO_SUCH_SESSION => ErrorType::NotFound,
        // Everything about the form of what was received, or of the address.
        E::Address(_)
        | E::IncorrectType
        | E::Utf8(_)
        | E::PaddingNot0(_)
        | E::UnknownFd
        | E::SignatureMismatch(..)
        | E::OutOfBounds
        | E::MaxDepthExceeded(_)
        | E::SignatureParse(_)
        | E::EmptyStructure
        | E::InvalidObjectPath
        | E::InvalidName(_)
        | E::InvalidNameConversion { .. }
        | E::InvalidField
        | E::ExcessData
        | E::IncorrectEndian
        | E::InvalidReply
        | E::MissingField
        | E::InvalidGUID
        | E::InvalidSerial
        | E::Failure(_) => ErrorType::Validation,
        _ => ErrorType::Internal,
    }
}

/// The kind of an error with one of the bus's own names.
fn kind_of_bus(error: &fdo::Error) -> ErrorType {
    use fdo::Error as E;
    match error {
        E::ZBus(error) => kind(error),
        E::UnknownObject(_) | E::FileNotFound(_) => ErrorType::NotFound,
        // No reply: the bus says so when who was asked has gone.
        E::ServiceUnknown(_)
        | E::NameHasNoOwner(_)
        | E::NoReply(_)
        | E::NoServer(_)
        | E::NoNetwork(_)
        | E::Disconnected(_)
        | E::IOError(_) => ErrorType::Unavailable,
        E::Timeout(_) | E::TimedOut(_) => ErrorType::ServerTimeout,
        E::AccessDenied(_) | E::InteractiveAuthorizationRequired(_) => ErrorType::Forbidden,
        E::AuthFailed(_) => ErrorType::Unauthorized,
        E::LimitsExceeded(_) | E::NoMemory(_) => ErrorType::RateLimited,
        E::UnknownMethod(_)
        | E::UnknownInterface(_)
        | E::UnknownProperty(_)
        | E::InvalidArgs(_)
        | E::InvalidSignature(_)
        | E::MatchRuleInvalid(_)
        | E::NotSupported(_) => ErrorType::BadRequest,
        E::BadAddress(_) | E::InconsistentMessage(_) => ErrorType::Validation,
        E::FileExists(_) | E::AddressInUse(_) | E::ObjectPathInUse(_) => ErrorType::AlreadyExists,
        _ => ErrorType::Internal,
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use super::*;

    fn signal<B: Serialize + DynamicType>(
        path: &str,
        interface: &str,
        member: &str,
        body: &B,
    ) -> Message {
        let signal = Message::signal(path, interface, member);
        signal.build(body).expect("it is a signal")
    }

    #[test]
    fn signals_tell_which_sessions_to_look_at() {
        let path = "/org/freedesktop/login1/session/_33";
        let object = zbus::ObjectPath::try_from(path).unwrap();
        let mut news = News::default();
        for member in ["SessionNew", "SessionRemoved"] {
            news.note(&signal(LOGIND_PATH, MANAGER, member, &("3", &object)));
        }
        assert_eq!(news.sessions, BTreeSet::from([path.to_owned()]));
        assert!(!news.owner);

        let other = "/org/freedesktop/login1/session/c1";
        news.note(&signal(other, PROPERTIES, "PropertiesChanged", &()));
        assert_eq!(news.sessions.len(), 2);
        let names = (LOGIND, "", ":1.9");
        news.note(&signal(BUS_PATH, BUS, "NameOwnerChanged", &names));
        assert!(news.owner);
    }

    #[test]
    fn signals_with_another_body_or_of_others_tell_nothing() {
        let mut news = News::default();
        news.note(&signal(LOGIND_PATH, MANAGER, "SessionNew", &(7_u32, true)));
        news.note(&signal(LOGIND_PATH, MANAGER, "SessionNew", &()));
        news.note(&signal(LOGIND_PATH, MANAGER, "UserNew", &("3", "x")));
        news.note(&signal(BUS_PATH, BUS, "NameAcquired", &":1.9"));
        assert!(news.is_empty(), "{news:?}");
    }

    #[test]
    fn errors_have_their_kinds() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let silent = io::Error::from(io::ErrorKind::TimedOut);
        let text = String::new;
        let bus = |error| zbus::Error::FDO(Box::new(error));
        for (error, expected, of_connection) in [
            (
                zbus::Error::InputOutput(Arc::new(refused)),
                ErrorType::Unavailable,
                true,
            ),
            (
                zbus::Error::InputOutput(Arc::new(silent)),
                ErrorType::Timeout,
                true,
            ),
            (
                bus(fdo::Error::ServiceUnknown(text())),
                ErrorType::Unavailable,
                true,
            ),
            (
                bus(fdo::Error::AccessDenied(text())),
                ErrorType::Forbidden,
                false,
            ),
            (
                bus(fdo::Error::UnknownObject(text())),
                ErrorType::NotFound,
                false,
            ),
            (zbus::Error::IncorrectType, ErrorType::Validation, false),
        ] {
            let trouble = Trouble::of("cannot", &error);
            assert_eq!(trouble.kind, expected, "{error}");
            assert_eq!(trouble.is_of_connection(), of_connection, "{error}");
        }
    }
}
