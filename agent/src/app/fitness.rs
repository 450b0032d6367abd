//! Whether the agent would start by its configuration, and what it would find: what `check` says after the kernel's part.

use std::{io, net::TcpListener, os::unix::net::UnixStream, path::Path};

use crate::{
    config::Config,
    discover::{
        rules::Rules,
        trial::{Trial, What},
        users::Users,
    },
    error::Error,
    gpu::{self, down::DownCode},
    kernel::preflight::{Facts, Finding, require_cgroup2},
    serve::{self, address::Address},
};

/// Sessions that are named; of more the number is enough.
const NAMED: usize = 8;

/// All judgements, in the order in which the agent would come to them.
pub fn findings(facts: &Facts, config: &Config) -> Vec<Finding> {
    let mut findings = vec![users(config)];
    findings.extend(config.serve.listen.iter().map(listen));
    findings.push(door(config));
    findings.push(gpus(config));
    findings.extend(sessions(facts, config));
    findings
}

/// The first reason why the agent does not start by its configuration, in the same order. An address that is in use is none:
/// it may be by the agent that runs.
pub fn require(config: &Config) -> Result<(), Error> {
    Users::new(&config.discover.users)?;
    for address in &config.serve.listen {
        try_listen(address)?;
    }
    Ok(serve::check_door(&config.serve)?)
}

fn users(config: &Config) -> Finding {
    let subject = "users of sessions";
    match Users::new(&config.discover.users) {
        Ok(_) => Finding::ok(subject, config.discover.users.policy.name()),
        Err(error) => Finding::failure(
            subject,
            error.to_string(),
            "make the key as docs/install.md says, or set sessions.user to \"off\"",
            &error,
        ),
    }
}

fn listen(address: &Address) -> Finding {
    let subject = "listen";
    match try_listen(address) {
        Ok(true) => Finding::ok(subject, format!("{address} is free")),
        Ok(false) => Finding::warning(
            subject,
            format!("{address} is in use"),
            "nothing, if an agent runs here (`sessionscope sessions`); else another program has it: choose \
             another `listen`",
        ),
        Err(error) => Finding::failure(
            subject,
            error.to_string(),
            "choose another `listen`",
            &error,
        ),
    }
}

/// Whether an address is free; an error is why it can never be had.
fn try_listen(address: &Address) -> Result<bool, Error> {
    let tried = match address {
        Address::Tcp(address) => TcpListener::bind(address).map(drop),
        Address::Unix(path) => try_socket(path),
    };
    match tried {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(false),
        Err(error) => Err(Error::listen(address, &error)),
    }
}

/// Whether a socket could be made there; what is left of an agent that is gone is no hindrance.
fn try_socket(path: &Path) -> io::Result<()> {
    if UnixStream::connect(path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let folder = path.parent().unwrap_or(path);
    folder.metadata().map(drop)
}

fn door(config: &Config) -> Finding {
    let subject = "who may ask";
    let files = [
        &config.serve.web_config,
        &config.serve.metrics_tokens,
        &config.serve.session_tokens,
    ];
    match serve::check_door(&config.serve).map_err(Error::from) {
        Ok(()) => {
            let files = files.into_iter().flatten();
            let files: Vec<String> = files.map(|file| file.display().to_string()).collect();
            let detail = if files.is_empty() {
                "whoever reaches it".to_owned()
            } else {
                format!("by {}", files.join(", "))
            };
            Finding::ok(subject, detail)
        }
        Err(error) => Finding::failure(
            subject,
            error.to_string(),
            "mend what it names: the agent does not start with less protection than it was told to have",
            &error,
        ),
    }
}

fn gpus(config: &Config) -> Finding {
    let subject = "GPUs";
    match gpu::would_load(&config.gpu) {
        Ok(library) => Finding::ok(subject, format!("by {}", library.display())),
        Err(down) if down.code == DownCode::NoLibrary => Finding::warning(
            subject,
            format!("not measured: {}", down.reason),
            "with gpu.enabled = false nothing is looked for",
        ),
        Err(down) => Finding::ok(subject, format!("not measured: {}", down.reason)),
    }
}

/// Which sessions there would be. Platforms are not asked, so names may be others.
fn sessions(facts: &Facts, config: &Config) -> Vec<Finding> {
    let subject = "sessions";
    // Without a hierarchy there is a failure already.
    let Ok(mount) = require_cgroup2(facts) else {
        return Vec::new();
    };
    let rules = &config.discover.rules;
    let trial = Trial::of_node(&mount.path, &Rules::new(&rules.configured, rules.builtin));
    let trial = match trial.map_err(Error::io(format!("scan of {}", mount.path.display()))) {
        Ok(trial) => trial,
        Err(error) => {
            let remedy = "mount cgroup v2 so that the agent may read it";
            return vec![Finding::failure(subject, error.to_string(), remedy, &error)];
        }
    };
    let names = trial.cgroups.iter().filter_map(|one| match &one.what {
        What::Session { session, .. } => Some(session.as_str()),
        _ => None,
    });
    let names: Vec<&str> = names.collect();
    let more = names.len().saturating_sub(NAMED);
    let named = names[..names.len() - more].join(", ");
    let detail = match (names.len(), more) {
        (0, _) => "none now; those that begin later are found".to_owned(),
        (all, 0) => format!("{all} now: {named}"),
        (all, more) => format!("{all} now: {named} and {more} more"),
    };
    let mut findings = vec![Finding::ok(subject, detail)];
    findings.extend(trial.unused.iter().map(|rule| {
        Finding::warning(
            "rules",
            format!("the rule \"{rule}\" takes no cgroup that is there now"),
            "nothing, if its sessions are yet to begin; `sessionscope rules test` says which rule takes which",
        )
    }));
    findings
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::kernel::preflight::Status;

    #[test]
    fn a_port_that_is_taken_is_a_warning_and_an_address_of_nobody_a_failure() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(taken.local_addr().unwrap());
        assert_eq!(listen(&address).status, Status::Warning);
        drop(taken);
        assert_eq!(listen(&address).status, Status::Ok);
        // TEST-NET-1 of RFC 5737.
        let foreign = Address::Tcp("192.0.2.1:9709".parse().unwrap());
        let finding = listen(&foreign);
        assert_eq!(finding.status, Status::Failure, "{finding:?}");
        assert_ne!(finding.exit_code, 0);
    }

    #[test]
    fn a_socket_is_free_where_nobody_answers_and_its_folder_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        let status = || listen(&Address::Unix(path.clone())).status;
        assert_eq!(status(), Status::Ok);
        let agent = UnixListener::bind(&path).unwrap();
        assert_eq!(status(), Status::Warning);
        drop(agent);
        assert_eq!(status(), Status::Ok);
        drop(folder);
        assert_eq!(status(), Status::Failure);
    }

    #[test]
    fn a_key_or_a_token_file_that_is_missing_is_found_before_a_start() {
        let mut config = Config::default();
        config.serve.session_tokens = Some("/nonexistent/tokens".into());
        let finding = door(&config);
        assert_eq!(finding.status, Status::Failure);
        assert!(
            finding.detail.contains("/nonexistent/tokens"),
            "{finding:?}"
        );
        config.discover.users.policy = crate::discover::users::UserPolicy::Hashed;
        config.discover.users.key = Some("/nonexistent/key".into());
        assert!(users(&config).detail.contains("/nonexistent/key"));
    }
}
