//! The platforms' sources: a row for each.

use tokio::sync::mpsc;

use super::settings::{Settings, Watch};
use super::{
    containers,
    directory::Directory,
    kubernetes, libvirt, logind,
    platform::{Message, Sender, Source},
};

/// How a source is turned on and run.
pub struct SourceSpec {
    /// Which.
    pub source: Source,
    /// Its table in the configuration, of which the key `watch` turns it on and off.
    pub table: &'static str,
    /// What that key says.
    pub watch: fn(&Settings) -> Watch,
    /// Why it is not asked here at all, where it is on.
    pub absent: fn(&Settings) -> Option<String>,
    /// Starts it; it runs until nobody listens any more.
    pub start: fn(&Settings, Sender),
}

/// Every source.
pub const SOURCES: [SourceSpec; 4] = [
    SourceSpec {
        source: Source::Kubernetes,
        table: kubernetes::settings::TABLE.name,
        watch: |settings| settings.kubernetes.watch,
        absent: |settings| kubernetes::absent(&settings.kubernetes),
        start: |settings, to| {
            tokio::spawn(kubernetes::run(settings.kubernetes.clone(), to));
        },
    },
    SourceSpec {
        source: Source::Logind,
        table: logind::settings::TABLE.name,
        watch: |settings| settings.logind.watch,
        absent: |_| None,
        start: |settings, to| {
            tokio::spawn(logind::run(settings.logind.clone(), to));
        },
    },
    SourceSpec {
        source: Source::Libvirt,
        table: libvirt::settings::TABLE.name,
        watch: |settings| settings.libvirt.watch,
        absent: |_| None,
        start: |settings, to| {
            tokio::spawn(libvirt::run(settings.libvirt.clone(), to));
        },
    },
    SourceSpec {
        source: Source::Containers,
        table: containers::settings::TABLE.name,
        watch: |settings| settings.containers.watch,
        absent: |_| None,
        start: |settings, to| {
            tokio::spawn(containers::run(settings.containers.clone(), to));
        },
    },
];

/// Starts those that are to be asked, and tells the directory of all.
pub fn start(settings: &Settings, directory: &mut Directory, to: &mpsc::Sender<Message>) {
    for spec in SOURCES {
        let off = match (spec.watch)(settings) {
            Watch::Off => Some(format!("{}.watch is \"off\"", spec.table)),
            Watch::Auto | Watch::On => (spec.absent)(settings),
        };
        if off.is_none() {
            (spec.start)(settings, Sender::new(spec.source, to.clone()));
        }
        directory.add(spec.source, off);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{discover::platform::Key, setting::Table};

    fn has_watch<S>(table: &Table<S>) -> bool {
        table.keys.iter().any(|key| key.name == "watch")
    }

    #[test]
    fn every_source_has_a_row_and_every_row_a_setting() {
        let text = String::new;
        for key in [
            Key::Pod(text()),
            Key::Container(text()),
            Key::Unit(text()),
            Key::Machine(text()),
        ] {
            let of_key = |spec: &&SourceSpec| spec.source == key.source();
            assert_eq!(SOURCES.iter().filter(of_key).count(), 1, "{key:?}");
        }
        assert_eq!(SOURCES.len(), Source::ALL.len());
        assert!(has_watch(&kubernetes::settings::TABLE));
        assert!(has_watch(&logind::settings::TABLE));
        assert!(has_watch(&libvirt::settings::TABLE));
        assert!(has_watch(&containers::settings::TABLE));
    }
}
