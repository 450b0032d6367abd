//! Where sessions come from, one file per source.
//!
//! * [`cgroup`]: the v2 hierarchy, by scan and by the kernel's events
//! * [`rules`]: which cgroup is a session, and what it is called
//! * [`recognised`]: the cgroups that a rule takes, each judged once, where it is believed
//! * [`logind`]: who is logged in, over D-Bus
//! * [`platform`]: what the platforms' own sources say, and how they say it
//! * [`kubernetes`]: pods, from the API server; [`selector`] says which of them are sessions
//! * [`libvirt`]: virtual machines, from libvirt's status files
//! * [`containers`]: containers without Kubernetes, from Docker's API and OCI bundles
//! * [`sources`]: the table of them, which a new one gets a row in; whether each answers is in `peer`
//! * [`directory`]: what they last said, and what that makes of a cgroup; [`users`] what is told of who uses it

pub mod cgroup;
pub mod containers;
pub mod directory;
pub mod kubernetes;
pub mod libvirt;
pub mod logind;
pub mod platform;
pub mod recognised;
pub mod rules;
pub mod selector;
pub mod settings;
pub mod sources;
pub mod trial;
pub mod users;

mod bounded;
mod file;
mod peer;
mod poll;
