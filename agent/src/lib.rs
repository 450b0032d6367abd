//! Sessionscope: what the kernel and the GPU did for each session of a node.
//!
//! ```text
//!  agent-ebpf             kernel               session             snapshot          serve
//!  programs ─ maps ─────► read + sum ──┐
//!        └ ring buffer ─► decode ──────┼──► Registry (one writer) ─► Arc<Snapshot> ─► /metrics  /api  /readyz
//!  discover: cgroup, rules ────────────┤       slot ◄─► cgroup id      immutable        read only
//!  gpu: the driver's own thread ───────┘
//! ```
//!
//! Data flows left to right. One thing flows back: the registry tells the kernel which cgroup belongs to
//! which slot, and clears a slot before it is used. [`app`] wires it; read it first.

pub mod allocator;
pub mod api;
pub mod app;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod discover;
pub mod error;
#[cfg(any(test, fuzzing))]
mod fuzz;
#[cfg(any(test, fuzzing))]
pub mod fuzz_targets;
pub mod gpu;
pub mod kernel;
pub mod limits;
pub mod metrics;
pub mod named;
pub mod resident;
pub mod serve;
pub mod session;
pub mod setting;
pub mod snapshot;
pub mod telemetry;
pub mod trace;
pub mod version;
