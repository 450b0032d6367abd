//! The whole way of an alert: Prometheus of both majors with the shipped rules, Alertmanager with the shipped configuration,
//! and whoever is told.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use serde_json::json;

use crate::{
    alertmanager::{self, Alertmanager, Sink, Told},
    prometheus::{Prometheus, installed, newer},
    wait::{self, patient},
};

/// For an alert: its windows, its `for`, and some rounds of everybody on the way.
const LIMIT: Duration = Duration::from_mins(2);

/// Says who is scraped, under which name, in a file that [`prometheus`] reads.
///
/// # Panics
///
/// When it cannot be written.
pub fn write_targets(file: &Path, targets: &[(&str, SocketAddr)]) {
    let targets: Vec<_> = targets
        .iter()
        .map(|(node, address)| {
            json!({
                "targets": [address.to_string()],
                "labels": {"instance": node, "cluster": "east", "environment": "prod"},
            })
        })
        .collect();
    // Never read in the middle.
    let new = file.with_extension("new");
    fs::write(&new, json!(targets).to_string()).expect("a file can be written");
    fs::rename(new, file).expect("a file can be renamed");
}

/// A Prometheus that evaluates rules and scrapes targets each second, and tells an Alertmanager, under a name of its own.
fn prometheus(
    binary: &Path,
    name: &str,
    rules: &Path,
    targets: &Path,
    to: SocketAddr,
) -> Prometheus {
    let configuration = format!(
        "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  evaluation_interval: 1s\n  \
         external_labels: {{prometheus: '{name}'}}\nrule_files: ['{}/*.yml']\nalerting:\n  alertmanagers:\n  - \
         static_configs: [{{targets: ['{to}']}}]\nscrape_configs:\n- job_name: sessionscope\n  honor_labels: true\n  \
         file_sd_configs: [{{files: ['{}'], refresh_interval: 1s}}]\n",
        rules.display(),
        targets.display()
    );
    // An alert that is not sent again for a moment is not over.
    Prometheus::start_configured(binary, &["--rules.alert.resend-delay=1s"], &configuration)
}

/// What is waited for.
#[derive(Debug)]
pub struct Wanted {
    receiver: &'static str,
    labels: Vec<(&'static str, &'static str)>,
}

/// An alert at a receiver, with some of its labels.
pub fn wanted<const N: usize>(
    receiver: &'static str,
    alert: &'static str,
    more: [(&'static str, &'static str); N],
) -> Wanted {
    let mut labels = vec![("alertname", alert)];
    labels.extend(more);
    Wanted { receiver, labels }
}

impl Wanted {
    fn is(&self, told: &Told) -> bool {
        let has =
            |(name, value): &(&str, &str)| told.labels.get(*name).is_some_and(|one| one == value);
        told.path == format!("/{}", self.receiver) && self.labels.iter().all(has)
    }
}

/// Who is told, by each Prometheus.
#[derive(Debug)]
pub struct Chain {
    sink: Sink,
    prometheuses: Vec<(&'static str, Prometheus)>,
    _alertmanager: Alertmanager,
}

impl Chain {
    /// Both majors of Prometheus with the rules of a folder and the targets of a file, the shipped Alertmanager, and whoever
    /// it tells.
    ///
    /// # Panics
    ///
    /// When one of them does not come up.
    pub fn start(rules: &Path, targets: &Path) -> Self {
        let sink = Sink::start();
        let alertmanager = Alertmanager::start(&alertmanager::shipped(sink.address()));
        let installed = installed("prometheus").expect("`cargo xtask setup` installs it");
        let newer = newer::binary().unwrap_or_else(|error| panic!("{error:#}"));
        let prometheuses = [("2", &installed), ("3", &newer)].map(|(name, binary)| {
            let to = alertmanager.address();
            (name, prometheus(binary, name, rules, targets, to))
        });
        Self {
            sink,
            prometheuses: prometheuses.into(),
            _alertmanager: alertmanager,
        }
    }

    /// Name and server of each Prometheus.
    pub fn prometheuses(&self) -> &[(&'static str, Prometheus)] {
        &self.prometheuses
    }

    fn told(&self, wanted: &Wanted, firing: bool) -> bool {
        let told = self.sink.told();
        self.prometheuses.iter().all(|(name, _)| {
            let of_it = |told: &&Told| told.labels.get("prometheus").is_some_and(|one| one == name);
            let mut found = told
                .iter()
                .filter(|told| told.firing == firing && wanted.is(told));
            found.any(|told| of_it(&told))
        })
    }

    /// Waits until each has told of all, or that they are over.
    ///
    /// # Panics
    ///
    /// When one does not for two minutes.
    pub fn until(&self, firing: bool, all: &[Wanted]) {
        for wanted in all {
            let Wanted { receiver, labels } = wanted;
            let what = format!("{receiver} is told of {labels:?}, firing: {firing}");
            wait::until(&what, patient(LIMIT), || {
                self.told(wanted, firing).then_some(())
            });
        }
    }

    /// Nobody has said that it is over.
    ///
    /// # Panics
    ///
    /// When somebody has.
    pub fn not_over(&self, wanted: &Wanted) {
        let told = self.sink.told();
        let over = told.iter().find(|told| !told.firing && wanted.is(told));
        assert_eq!(over, None);
    }

    /// Nobody has been told of it.
    ///
    /// # Panics
    ///
    /// When somebody has.
    pub fn never(&self, wanted: &Wanted) {
        let told = self.sink.told();
        let found: Vec<&Told> = told
            .iter()
            .filter(|told| told.firing && wanted.is(told))
            .collect();
        assert!(found.is_empty(), "{found:?}");
    }
}
