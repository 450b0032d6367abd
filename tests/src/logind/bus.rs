//! A bus of the test's own: `dbus-daemon` with a socket in a temporary folder.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::{runtime::Runtime, task::JoinHandle};
use zbus::{Connection, Message, MessageStream, connection, message};

use crate::{process, wait};

/// Between its start and its answers.
const START_LIMIT: Duration = Duration::from_secs(10);
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// For an answer of whoever is asked over it.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// The bus, and what its clients run on. Dropping it ends it.
#[derive(Debug)]
pub struct Bus {
    daemon: Child,
    /// For everything that is sent and received by the test.
    pub runtime: Runtime,
    folder: TempDir,
}

impl Bus {
    /// Starts one, on which anybody may do anything.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let configuration = format!(
            "<busconfig>\
             <type>session</type>\
             <listen>{}</listen>\
             <auth>EXTERNAL</auth>\
             <policy context='default'>\
             <allow send_destination='*' eavesdrop='true'/>\
             <allow receive_sender='*' eavesdrop='true'/>\
             <allow own='*'/>\
             <allow user='*'/>\
             </policy>\
             </busconfig>",
            address(folder.path())
        );
        fs::write(folder.path().join("bus.conf"), configuration)
            .expect("the bus's configuration can be written");
        let bus = Self {
            daemon: spawn(folder.path()),
            runtime,
            folder,
        };
        drop(bus.connect());
        bus
    }

    /// A D-Bus address, as `logind.bus` takes it.
    pub fn address(&self) -> String {
        address(self.folder.path())
    }

    /// Its folder, for what else belongs to it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends it; its clients lose their connections.
    pub fn stop(&mut self) {
        process::end(&mut self.daemon, STOP_LIMIT);
    }

    /// Starts it again at the same address.
    pub fn start_again(&mut self) {
        self.stop();
        self.daemon = spawn(self.folder.path());
        drop(self.connect());
    }

    /// A new connection, as soon as the bus takes one.
    pub fn connect(&self) -> Connection {
        wait::until("the bus takes a connection", START_LIMIT, || {
            let building = connection::Builder::address(self.address().as_str())
                .method_timeout(ANSWER_LIMIT)
                .build();
            self.runtime.block_on(building).ok()
        })
    }

    /// Owns a name and lets `answer` see to every call, one after the other.
    pub fn serve<F>(
        &self,
        name: &str,
        mut answer: impl FnMut(Connection, Message) -> F + Send + 'static,
    ) -> Service
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let connection = self.connect();
        let mut messages = MessageStream::from(&connection);
        let named = self.runtime.block_on(connection.request_name(name));
        named.unwrap_or_else(|error| panic!("cannot own {name}: {error}"));
        let answering = connection.clone();
        let task = self.runtime.spawn(async move {
            while let Some(Ok(message)) = messages.next().await {
                if message.message_type() == message::Type::MethodCall {
                    answer(answering.clone(), message).await;
                }
            }
        });
        Service { connection, task }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A name on the bus that the test owns. Dropping it gives the name back.
#[derive(Debug)]
pub struct Service {
    /// What signals go out by.
    pub connection: Connection,
    task: JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("bus")
}

fn address(folder: &Path) -> String {
    format!("unix:path={}", socket(folder).display())
}

fn spawn(folder: &Path) -> Child {
    let log = File::create(folder.join("bus.log")).expect("the bus's log can be made");
    // One that was killed leaves it.
    let _none = fs::remove_file(socket(folder));
    Command::new("dbus-daemon")
        .arg("--config-file")
        .arg(folder.join("bus.conf"))
        .args(["--nofork", "--nopidfile", "--nosyslog"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("dbus-daemon is installed: `cargo xtask setup --for test`")
}
