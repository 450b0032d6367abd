//! What can be set of where sessions are looked for.

pub use super::{
    containers::settings as containers, kubernetes::settings as kubernetes,
    libvirt::settings as libvirt, logind::settings as logind, rules::settings as rules,
    users::settings as users,
};
use crate::named::named;

/// Where sessions are looked for, and who is asked what they are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// Which cgroups are sessions.
    pub rules: rules::Settings,
    /// What is told of who uses them.
    pub users: users::Settings,
    /// The Kubernetes API.
    pub kubernetes: kubernetes::Settings,
    /// Logins.
    pub logind: logind::Settings,
    /// Virtual machines.
    pub libvirt: libvirt::Settings,
    /// Containers without Kubernetes.
    pub containers: containers::Settings,
}

named! {
    /// Whether a platform is asked.
    pub enum Watch {
        /// Where there are signs of it.
        Auto = "auto",
        /// Even where there are none yet.
        On = "on",
        /// Never.
        Off = "off",
    }
}
