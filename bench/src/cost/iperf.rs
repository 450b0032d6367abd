//! A load of `bench net`: `iperf3` over loopback, server and client in a session each and, where there
//! are two, on a CPU each.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::Receiver;

use anyhow::{Context, Result};
use lab::command;
use serde_json::Value;

use super::inside::{self, Place, Printing, Running};
use super::load::{Description, Load, Run, Unit};
use crate::waiting::wait_until;

/// What the design promises: throughput with the agent over throughput without.
const LEAST: f64 = 0.97;
const SECONDS: &str = "1";
const MIB: u64 = 1024 * 1024;
/// `TCP_LISTEN` in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// A server that serves one client after the other; dropping it ends it.
pub(super) struct Server {
    iperf: PathBuf,
    port: u16,
    _running: Running,
}

impl Server {
    /// Starts it and waits until it listens.
    pub(super) fn start(cgroup: &Path, cpu: usize, interrupted: &Receiver<()>) -> Result<Self> {
        let iperf = command::find_program("iperf3").context("there is no program `iperf3`")?;
        let port = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .context("cannot find a free port on 127.0.0.1")?
            .port();
        let text = port.to_string();
        let arguments = ["--server", "--bind", "127.0.0.1", "--port", &text];
        let place = Place::new(cgroup, cpu);
        let running = inside::start(place, &iperf, &arguments, Stdio::null(), Stdio::inherit())?;
        // A connection to see whether it listens would be taken for a client.
        wait_until("iperf3 listens", interrupted, || {
            let sockets =
                fs::read_to_string("/proc/net/tcp").context("cannot read /proc/net/tcp")?;
            Ok(listens(&sockets, port))
        })?;
        Ok(Self {
            iperf,
            port,
            _running: running,
        })
    }
}

fn listens(sockets: &str, port: u16) -> bool {
    let local = format!(":{port:04X}");
    sockets.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let address = fields.next().unwrap_or_default();
        address.ends_with(&local) && fields.nth(1) == Some(LISTENING)
    })
}

/// A client that sends over so many connections at once.
pub(super) struct Streams<'a> {
    pub(super) server: &'a Server,
    pub(super) cgroup: PathBuf,
    pub(super) cpu: usize,
    pub(super) count: u32,
}

impl Load for Streams<'_> {
    fn description(&self) -> Description {
        let streams = if self.count == 1 { "stream" } else { "streams" };
        Description {
            label: format!("`iperf3` over loopback, {} {streams}", self.count),
            operation: "MiB".into(),
            unit: Unit::GigabitsPerSecond,
            promise: Some(LEAST),
        }
    }

    fn runs(&self) -> usize {
        2
    }

    fn run(&self, interrupted: &Receiver<()>) -> Result<Run> {
        let (port, streams) = (self.server.port.to_string(), self.count.to_string());
        let arguments = [
            "--client",
            "127.0.0.1",
            "--port",
            &port,
            "--time",
            SECONDS,
            "--parallel",
            &streams,
            "--json",
        ];
        let place = Place::new(&self.cgroup, self.cpu);
        let output = Printing::start(place, &self.server.iperf, &arguments)?.finish(interrupted)?;
        let report: Value =
            serde_json::from_str(&output).context("the report of iperf3 is not JSON")?;
        received(&report).context("the report of iperf3 does not say what was received")
    }

    fn counted(&self) -> Option<(&'static str, f64)> {
        // Both ends are sessions, so each byte is counted twice; what is on its way at the end is not.
        Some(("vdi_session_network_bytes_total", 1.9 * MIB as f64))
    }
}

fn received(report: &Value) -> Option<Run> {
    let sum = &report["end"]["sum_received"];
    Some(Run {
        operations: sum["bytes"].as_u64()? / MIB,
        seconds: sum["seconds"].as_f64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::{listens, received};

    #[test]
    fn only_a_listening_socket_listens() {
        let sockets = "  sl  local_address rem_address   st tx_queue rx_queue\n   \
                       0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n   \
                       1: 0100007F:1F91 0100007F:1F90 01 00000000:00000000\n";
        assert!(listens(sockets, 8080));
        assert!(!listens(sockets, 8081));
    }

    #[test]
    fn what_arrived_counts() {
        let report = serde_json::json!({"end": {
            "sum_sent": {"seconds": 2.0, "bytes": 9_999_999},
            "sum_received": {"seconds": 2.5, "bytes": 5_242_880, "bits_per_second": 16_777_216.0},
        }});
        let run = received(&report).unwrap();
        assert_eq!(run.operations, 5);
        assert!((run.seconds - 2.5).abs() < f64::EPSILON);
        assert!(received(&serde_json::json!({"error": "no"})).is_none());
    }
}
