//! The platforms' sources: a row for each.

use tokio::sync::mpsc;

use super::{
    containers,
    directory::Directory,
    kubernetes, libvirt, logind,
    platform::{Message, Sender, Source},
};
use crate::config::{Config, Watch};

/// How a source is turned on and run.
pub struct SourceSpec {
    /// Which.
    pub source: Source,
    /// The key that turns it on and off.
    pub setting: &'static str,
    /// What that key says.
    pub watch: fn(&Config) -> Watch,
    /// Why it is not asked here at all, where it is on.
    pub absent: fn(&Config) -> Option<String>,
    /// Starts it; it runs until nobody listens any more.
    pub start: fn(&Config, Sender),
}

/// Every source.
pub const SOURCES: [SourceSpec; 4] = [
    SourceSpec {
        source: Source::Kubernetes,
        setting: "kubernetes.watch",
        watch: |config| config.kubernetes.watch,
        absent: |config| kubernetes::absent(&config.kubernetes),
        start: |config, to| {
            tokio::spawn(kubernetes::run(config.kubernetes.clone(), to));
        },
    },
    SourceSpec {
        source: Source::Logind,
        setting: "logind.watch",
        watch: |config| config.logind.watch,
        absent: |_| None,
        start: |config, to| {
            tokio::spawn(logind::run(config.logind.clone(), to));
        },
    },
    SourceSpec {
        source: Source::Libvirt,
        setting: "libvirt.watch",
        watch: |config| config.libvirt.watch,
        absent: |_| None,
        start: |config, to| {
            tokio::spawn(libvirt::run(config.libvirt.clone(), to));
        },
    },
    SourceSpec {
        source: Source::Containers,
        setting: "containers.watch",
        watch: |config| config.containers.watch,
        absent: |_| None,
        start: |config, to| {
            tokio::spawn(containers::run(config.containers.clone(), to));
        },
    },
];

/// Starts those that are to be asked, and tells the directory of all.
pub fn start(config: &Config, directory: &mut Directory, to: &mpsc::Sender<Message>) {
    for spec in SOURCES {
        let off = match (spec.watch)(config) {
            Watch::Off => Some(format!("{} is \"off\"", spec.setting)),
            Watch::Auto | Watch::On => (spec.absent)(config),
        };
        if off.is_none() {
            (spec.start)(config, Sender::new(spec.source, to.clone()));
        }
        directory.add(spec.source, off);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::KEYS, discover::platform::Key};

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
        for spec in SOURCES {
            let is_setting = KEYS.iter().any(|key| key.path == spec.setting);
            assert!(is_setting, "{}", spec.setting);
        }
    }
}
