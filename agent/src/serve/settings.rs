//! What can be set of the HTTP side.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use super::{
    address::Address,
    rights::{Owner, Rights, mode_text, parse_mode},
};
use crate::setting::{Field, Key, Table, form};

/// The HTTP side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where to serve; one at least.
    pub listen: Vec<Address>,
    /// Who may connect to those that are sockets in the file system.
    pub socket: Rights,
    /// Names to which what is told of sessions answers besides addresses, `localhost` and the node's own.
    pub hosts: Vec<String>,
    /// A web configuration file; `None` for plain HTTP to everybody.
    pub web_config: Option<PathBuf>,
    /// The file with the tokens of scrapers.
    pub metrics_tokens: Option<PathBuf>,
    /// The file with the tokens of who asks for sessions.
    pub session_tokens: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // Loopback: what a session is called can be personal, so who may scrape is a decision.
            listen: vec![Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 9709)))],
            socket: Rights::default(),
            hosts: Vec::new(),
            web_config: None,
            metrics_tokens: None,
            session_tokens: None,
        }
    }
}

fn is_host_name(text: &str) -> bool {
    let is_named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && text.bytes().all(is_named)
}

/// The keys.
pub const ABOVE: Table<Settings> = Table {
    name: "",
    about: "Where the agent is reached.",
    keys: &[Key {
        name: "listen",
        flag: Some("--listen"),
        doc: "Where /metrics, the sessions and the health checks are served: addresses with their ports, and sockets in the file system, each `unix:` and an absolute path. Where only sockets are listed, no port is open. The subcommands that ask a running agent take the first.",
        field: Field::OneOrMore {
            form: "address:port or unix:/path",
            get: |settings| settings.listen.iter().map(Address::to_string).collect(),
            set: |settings, texts| {
                let addresses = texts.iter().map(|text| text.parse::<Address>());
                let addresses: Vec<Address> = addresses.collect::<Result<_, _>>()?;
                if addresses.is_empty() {
                    return Err("expected an address at least, found none".to_owned());
                }
                settings.listen = addresses;
                Ok(())
            },
        },
    }],
};

/// The table `socket`.
pub const SOCKET: Table<Settings> = Table {
    name: "socket",
    about: "Who may connect to the sockets of `listen` in the file system: who may write to their files. TLS, users and \
            tokens of `[web]` are asked for there as at a port.",
    keys: &[
        Key {
            name: "owner",
            flag: None,
            doc: "User and group that the sockets are given to, as chown(1) has them: names of /etc/passwd and /etc/group, or numbers. Without it, and where it names only one of both, they are the agent's own. To give them to a group that the agent is not in, or to another user, takes CAP_CHOWN.",
            field: Field::Text {
                form: "user, user:group or :group",
                get: |settings| settings.socket.owner.text(),
                set: |settings, text| {
                    settings.socket.owner = Owner::parse(text)?;
                    Ok(())
                },
            },
        },
        Key {
            name: "mode",
            flag: None,
            doc: "Permissions of the sockets. To connect takes that of writing.",
            field: Field::Text {
                form: "octal digits",
                get: |settings| Some(mode_text(settings.socket.mode)),
                set: |settings, text| {
                    settings.socket.mode = parse_mode(text)?;
                    Ok(())
                },
            },
        },
    ],
};

/// The table `api`.
pub const API: Table<Settings> = Table {
    name: "api",
    about: "What tells of sessions over HTTP.",
    keys: &[Key {
        name: "hosts",
        flag: None,
        doc: "Names by which the sessions may be asked for over HTTP (/api and the page /) besides addresses, localhost and the node's own name: of a proxy, say. A request for another name is refused, so that no web page has its own name point here and reads them. /metrics and the health checks answer to every name.",
        field: Field::List {
            form: "host names",
            get: |settings| settings.hosts.clone(),
            set: |settings, hosts| {
                if let Some(wrong) = hosts.iter().find(|host| !is_host_name(host)) {
                    return Err(format!(
                        "expected a host name without a port such as \"desks.example\", found \"{wrong}\""
                    ));
                }
                settings.hosts = hosts;
                Ok(())
            },
        },
    }],
};

/// The table `web`.
pub const WEB: Table<Settings> = Table {
    name: "web",
    about: "Who may ask. The web configuration file is that of Prometheus's exporters: TLS, clients' certificates, \
            users with passwords, headers, a rate limit. It, the files that it names and those with tokens are read \
            again whenever they change; what is wrong with a change is logged, and what was in effect stays. A user of \
            the web configuration may ask for everything, a token for what its file is for; the health checks are \
            open to everybody.",
    keys: &[
        Key {
            name: "config_file",
            flag: Some("--web.config.file"),
            doc: "Web configuration file, in the format of Prometheus's exporters. Without it, plain HTTP to everybody who reaches the port.",
            field: Field::Text {
                form: "absolute path",
                get: |settings| form::optional_path_text(settings.web_config.as_ref()),
                set: |settings, text| {
                    settings.web_config = Some(form::absolute(text)?);
                    Ok(())
                },
            },
        },
        Key {
            name: "metrics_tokens",
            flag: None,
            doc: "File with bearer tokens, one in each line, of which a scrape of /metrics must have one. Without it, and without users in the web configuration, nobody is asked.",
            field: Field::Text {
                form: "absolute path",
                get: |settings| form::optional_path_text(settings.metrics_tokens.as_ref()),
                set: |settings, text| {
                    settings.metrics_tokens = Some(form::absolute(text)?);
                    Ok(())
                },
            },
        },
        Key {
            name: "session_tokens",
            flag: None,
            doc: "The same for what tells of sessions: /api and the page /.",
            field: Field::Text {
                form: "absolute path",
                get: |settings| form::optional_path_text(settings.session_tokens.as_ref()),
                set: |settings, text| {
                    settings.session_tokens = Some(form::absolute(text)?);
                    Ok(())
                },
            },
        },
    ],
};
