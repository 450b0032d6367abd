//! What can be set of virtual machines.

use std::path::PathBuf;

use crate::{
    discover::settings::Watch,
    setting::{Field, Key, Table, form},
};

/// Virtual machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether libvirt's files are read.
    pub watch: Watch,
    /// Where they are.
    pub state: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            watch: Watch::Auto,
            state: PathBuf::from("/run/libvirt/qemu"),
        }
    }
}

/// The table `libvirt`.
pub const TABLE: Table<Settings> = Table {
    name: "libvirt",
    about: "Names and domains of virtual machines, from libvirt.",
    keys: &[
        Key {
            name: "watch",
            flag: None,
            doc: "Read what libvirt says of its virtual machines. auto: where its folder is there.",
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
            name: "state",
            flag: None,
            doc: "Folder in which libvirt keeps the state of running machines, here or in the host's file system.",
            field: Field::Text {
                form: "absolute path",
                get: |settings| Some(form::path_text(&settings.state)),
                set: |settings, text| {
                    settings.state = form::absolute(text)?;
                    Ok(())
                },
            },
        },
    ],
};
