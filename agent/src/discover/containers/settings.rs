//! What can be set of containers without Kubernetes.

use std::path::PathBuf;

use crate::{
    discover::settings::Watch,
    setting::{Field, Key, Table, form},
};

/// Containers without Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether runtimes are asked.
    pub watch: Watch,
    /// Sockets with Docker's API.
    pub sockets: Vec<PathBuf>,
    /// Folders with OCI bundles.
    pub bundles: Vec<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            watch: Watch::Auto,
            sockets: ["/run/docker.sock", "/run/podman/podman.sock"]
                .map(PathBuf::from)
                .into(),
            bundles: [
                "/run/containerd/io.containerd.runtime.v2.task",
                "/run/containers/storage/overlay-containers",
            ]
            .map(PathBuf::from)
            .into(),
        }
    }
}

/// The table `containers`.
pub const TABLE: Table<Settings> = Table {
    name: "containers",
    about: "Names and images of containers without Kubernetes, from their runtimes.",
    keys: &[
        Key {
            name: "watch",
            flag: None,
            doc: "Ask container runtimes for the names and images of their containers. auto: those whose sockets or folders are there.",
            field: Field::Text {
                form: "`auto`, `on` or `off`",
                get: |settings| Some(settings.watch.name().to_owned()),
                set: |settings, text| {
                    settings.watch = form::choose(text)?;
                    Ok(())
                },
            },
        },
        Key {
            name: "sockets",
            flag: None,
            doc: "Sockets of runtimes with Docker's API, here or in the host's file system.",
            field: Field::List {
                form: "absolute paths",
                get: |settings| form::paths_text(&settings.sockets),
                set: |settings, paths| {
                    settings.sockets = form::absolutes(&paths)?;
                    Ok(())
                },
            },
        },
        Key {
            name: "bundles",
            flag: None,
            doc: "Folders in which containerd and CRI-O keep the bundles of running containers, here or in the host's file system.",
            field: Field::List {
                form: "absolute paths",
                get: |settings| form::paths_text(&settings.bundles),
                set: |settings, paths| {
                    settings.bundles = form::absolutes(&paths)?;
                    Ok(())
                },
            },
        },
    ],
};
