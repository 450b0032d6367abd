//! Where sessions come from, one file per source.
//!
//! * [`cgroup`]: the v2 hierarchy, by scan and by the kernel's events
//! * [`rules`]: which cgroup is a session, and what it is called

pub mod cgroup;
pub mod rules;
