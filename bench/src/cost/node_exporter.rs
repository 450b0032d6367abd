//! Debian's node_exporter, the peer of `bench scrape` and `bench memory`: most nodes run one already.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use lab::http::Response;
use lab::{command, http};
use serde::{Deserialize, Serialize};

use super::exposition::{Exposition, Scrape};
use super::inside::{self, Place, Running};
use super::scrape::{BREAK, SCRAPES, WATCHED, WATCHED_PERIOD, WATCHED_SCRAPES};
use crate::interrupt::pause;
use crate::machine::process_cpu_time;

/// As the package calls it.
const PROGRAM: &str = "prometheus-node-exporter";
/// What it logs before its address, once it listens.
const ADDRESS: &str = "address=";
/// What scrapes of it take, as it is packaged.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Peer {
    pub(super) series: u64,
    /// CPU time of its process with a scrape a second as of the agent's, in CPUs.
    pub(super) cpus: f64,
    /// In text, not compressed.
    pub(super) scrapes: Vec<Scrape>,
}

/// A running node_exporter.
pub(super) struct NodeExporter {
    running: Running,
    address: SocketAddr,
}

impl NodeExporter {
    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.running.0.id()
    }

    /// Asks for an exposition.
    pub(super) fn scrape(&self, exposition: Exposition) -> Result<(Scrape, Response)> {
        let begin = Instant::now();
        let answer = http::get(self.address, "/metrics", &exposition.headers())
            .context("node_exporter does not answer")?
            .success()?;
        let scrape = Scrape {
            seconds: begin.elapsed().as_secs_f64(),
            bytes: answer.body.len(),
        };
        Ok((scrape, answer))
    }

    /// Scrapes it as the agent is scraped.
    pub(super) fn measure(&self, interrupted: &Receiver<()>) -> Result<Peer> {
        let (_, first) = self.scrape(Exposition::Text)?;
        let text = first.text();
        let series = text.lines().filter(|line| !line.starts_with('#')).count() as u64;
        let (before, begin) = (process_cpu_time(self.pid())?, Instant::now());
        for _ in 0..WATCHED_SCRAPES {
            pause(WATCHED_PERIOD, interrupted)?;
            self.scrape(WATCHED)?;
        }
        let taken = process_cpu_time(self.pid())?.saturating_sub(before);
        let cpus = taken.as_secs_f64() / begin.elapsed().as_secs_f64();
        let mut scrapes = Vec::new();
        for _ in 0..SCRAPES {
            pause(BREAK, interrupted)?;
            scrapes.push(self.scrape(Exposition::Text)?.0);
        }
        Ok(Peer {
            series,
            cpus,
            scrapes,
        })
    }
}

/// Starts it and waits until it listens.
pub(super) fn start() -> Result<NodeExporter> {
    eprintln!("node_exporter");
    let program = command::find_program(PROGRAM)
        .with_context(|| format!("there is no program `{PROGRAM}`"))?;
    let arguments = ["--web.listen-address=127.0.0.1:0"];
    let place = Place::default();
    let mut running = inside::start(place, &program, &arguments, Stdio::null(), Stdio::piped())?;
    let stderr = running.0.stderr.take().context("it has no log")?;
    let mut log = BufReader::new(stderr);
    let mut line = String::new();
    let address = loop {
        line.clear();
        let read = log.read_line(&mut line).context("cannot read its log")?;
        ensure!(read > 0, "{PROGRAM} ended before it listened");
        if let Some(address) = address_in(&line) {
            break address;
        }
    };
    // Read to the end, so that it never waits for a reader.
    thread::spawn(move || for _ in log.lines().map_while(Result::ok) {});
    Ok(NodeExporter { running, address })
}

/// Its address in a line of its log.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(ADDRESS)?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::address_in;

    #[test]
    fn the_log_says_where_it_listens() {
        let line = "ts=2026-01-02T03:04:05.678Z caller=tls_config.go:232 level=info msg=\"Listening on\" address=127.0.0.1:41247\n";
        assert_eq!(address_in(line), Some(([127, 0, 0, 1], 41247).into()));
        assert_eq!(address_in("level=info msg=\"TLS is disabled.\"\n"), None);
    }
}
