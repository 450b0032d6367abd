//! What tests and benchmarks share: an agent, cgroups, what the agent answers, waiting, other programs.
//!
//! Here is only what both need. What fails returns an error that says what to do; a test makes a panic of
//! it (`tests/src`), a benchmark ends with it. Only looking something up in an answer panics, as an
//! assertion does.

pub mod agent;
pub mod cgroup;
pub mod command;
pub mod cpus;
pub mod exposition;
pub mod http;
pub mod kernel_log;
pub mod process;
pub mod programs;
pub mod wait;
