//! A Kubernetes API server as far as an agent sees it: list and watch of pods over TLS with a bearer token,
//! with resource versions, pages, bookmarks and everything that goes wrong with them.
//!
//! It holds objects as JSON, as an API server writes them, and allows what the manifest of the agent's roles
//! allows; what else is asked for it refuses, and remembers.

mod access;
mod credentials;
mod kubelet;
mod pods;
mod server;
mod store;

pub use credentials::{Credentials, TOKEN};
pub use kubelet::Sandbox;
pub use pods::{Pod, at, service};
pub use server::{InCluster, Server};
pub use store::Fault;
