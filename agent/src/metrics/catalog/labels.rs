//! Labels of more than one section.

use crate::{
    discover::platform::Source as Platform,
    gpu::model::{Direction, Engine},
    metrics::label::{OneOf, Text},
    named::named,
};

pub(super) const NAMESPACE: Text = Text::new("namespace", "namespace of the sessions");
pub(super) const TEMPLATE: Text = Text::new("template", "template of the sessions");
pub(super) const GPU: Text = Text::new("gpu", "index of the GPU");
pub(super) const ENGINE: OneOf<Engine> = OneOf::new("engine");
pub(super) const DIRECTION: OneOf<Direction> = OneOf::new("direction");
pub(super) const XID: Text = Text::new("xid", "number of the error");
pub(super) const FILE: Text = Text::new("file", "path of the file");
pub(super) const SOURCE: OneOf<Origin> = OneOf::new("source");

named! {
    /// Who named a session: the hierarchy alone, or a platform.
    pub(super) enum Origin {
        /// The path of its cgroup.
        Cgroup = "cgroup",
        /// The Kubernetes API.
        Kubernetes = "kubernetes",
        /// logind.
        Logind = "logind",
        /// libvirt.
        Libvirt = "libvirt",
        /// A container runtime.
        Containers = "containers",
    }
}

impl From<Option<Platform>> for Origin {
    fn from(platform: Option<Platform>) -> Self {
        match platform {
            None => Self::Cgroup,
            Some(Platform::Kubernetes) => Self::Kubernetes,
            Some(Platform::Logind) => Self::Logind,
            Some(Platform::Libvirt) => Self::Libvirt,
            Some(Platform::Containers) => Self::Containers,
        }
    }
}
