//! A collector of traces: Rotel, which takes OTLP by gRPC and by HTTP and writes down each span that it has got.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use lab::process;
use tempfile::TempDir;

use crate::{prometheus::free_address, wait};

const START: Duration = Duration::from_secs(10);

/// A span as the collector has got it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// Its trace, in hexadecimal digits.
    pub trace: String,
    /// Itself.
    pub id: String,
    /// Its parent; empty for a root.
    pub parent: String,
    /// What it is called.
    pub name: String,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// The same.
    pub end: u64,
    /// Whether its status is an error.
    pub is_error: bool,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// Those of what has sent it.
    pub resource: BTreeMap<String, String>,
}

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    child: Child,
    folder: TempDir,
}

/// Where to send by gRPC and by HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// OTLP by gRPC.
    pub grpc: SocketAddr,
    /// OTLP by HTTP.
    pub http: SocketAddr,
}

impl Ports {
    /// Some that were free a moment ago.
    pub fn free() -> Self {
        Self {
            grpc: free_address(),
            http: free_address(),
        }
    }
}

/// The program, which `cargo xtask setup --for test` installs: it is a file of a Python package.
pub fn program() -> Option<PathBuf> {
    let environment = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/python/lib");
    let versions = fs::read_dir(environment).ok()?;
    let mut found = versions.filter_map(|version| {
        let program = version.ok()?.path().join("site-packages/rotel/rotel-agent");
        program.is_file().then_some(program)
    });
    found.next()
}

impl Collector {
    /// Starts one and waits until it listens.
    pub fn start(ports: Ports) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let said = File::create(folder.path().join("said")).expect("a file");
        let mut command = Command::new(program().expect("the collector is installed"));
        command
            .args(["start", "--exporter", "blackhole"])
            .args(["--debug-log", "traces", "--debug-log-verbosity", "detailed"])
            .args(["--otlp-grpc-endpoint", &ports.grpc.to_string()])
            .args(["--otlp-http-endpoint", &ports.http.to_string()])
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("a descriptor"))
            .stderr(said);
        let child = command.spawn().expect("the collector can be started");
        let collector = Self { child, folder };
        for port in [ports.grpc, ports.http] {
            wait::until("the collector listens", START, || {
                TcpStream::connect(port).ok()
            });
        }
        collector
    }

    /// What it has got.
    pub fn spans(&self) -> Vec<Span> {
        let said = fs::read(self.folder.path().join("said")).unwrap_or_default();
        parsed(&String::from_utf8_lossy(&said))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        process::end(&mut self.child, START);
    }
}

/// Reads what it writes: blocks of a resource, and in each blocks of spans.
fn parsed(said: &str) -> Vec<Span> {
    let (mut spans, mut resource) = (Vec::<Span>::new(), BTreeMap::new());
    let mut is_in_span = false;
    for line in said.lines() {
        let line = line.trim();
        if line.starts_with("ResourceSpans #") {
            (resource, is_in_span) = (BTreeMap::new(), false);
        } else if line.starts_with("Span #") {
            is_in_span = true;
            spans.push(Span {
                resource: resource.clone(),
                ..Span::default()
            });
        } else if let Some(attribute) = line.strip_prefix("-> ") {
            let Some((key, value)) = attribute.split_once(": ") else {
                continue;
            };
            // `Str(desk)`
            let value = value.split_once('(').map_or(value, |(_, rest)| rest);
            let value = value.strip_suffix(')').unwrap_or(value);
            let into = match spans.last_mut() {
                Some(span) if is_in_span => &mut span.attributes,
                _ => &mut resource,
            };
            into.insert(key.to_owned(), value.to_owned());
        } else if let (Some(span), Some((key, value))) = (spans.last_mut(), line.split_once(':')) {
            let value = value.trim();
            match key.trim() {
                "Trace ID" => value.clone_into(&mut span.trace),
                "Parent ID" => value.clone_into(&mut span.parent),
                "ID" => value.clone_into(&mut span.id),
                "Name" => value.clone_into(&mut span.name),
                "Start time" => span.start = value.parse().expect("a time"),
                "End time" => span.end = value.parse().expect("a time"),
                "Status code" => span.is_error = value == "STATUS_CODE_ERROR",
                _ => {}
            }
        }
    }
    spans
}
