//! Where sessions come from, one file per source.
//!
//! * [`cgroup`]: the v2 hierarchy, by scan and by the kernel's events
//! * [`rules`]: which cgroup is a session, and what it is called
//! * [`logind`]: who is logged in, over D-Bus
//! * [`platform`]: what the platforms' own sources say, and how they say it

pub mod cgroup;
pub mod kubernetes;
pub mod logind;
pub mod platform;
pub mod rules;
