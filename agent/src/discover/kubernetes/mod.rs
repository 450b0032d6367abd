//! The Kubernetes API: which pods of this node are sessions, what they are called, and what became of them.
//!
//! `connect` reaches it, `watch` lists and follows the pods, `pod` reads one, in the fields that `object` has,
//! [`super::selector`] says which are sessions. Asked for are `list` and `watch` of pods, nothing else.

mod connect;
mod object;
mod operators;
pub(crate) mod pod;
pub mod settings;
mod watch;

pub use connect::absent;
pub use settings::Settings;
pub use watch::run;
