//! The C interface of `libnvidia-ml.so.1`, answering from a scenario file instead of a driver.
//!
//! The agent under test is the binary of production: only the path of the library differs. What the
//! library says is a TOML file ([`Scenario`]), named by [`SCENARIO`], and read again whenever it
//! changes, so that a test can start a process on a GPU, lose the GPU, or let the driver hang while the
//! agent runs. The count protocols, struct layouts and return codes are those of the header; what only
//! hardware can show is not imitated.
//!
//! The crate has two faces. As a cdylib it is the library. As an rlib it is what tests write scenarios
//! with ([`scenario`]), install the library with ([`library`]), and read the calls with ([`calls`]).

mod call;
pub mod calls;
pub mod code;
mod events;
mod ffi;
mod handles;
mod history;
pub mod library;
pub mod scenario;
mod source;
mod state;

pub use self::{code::Code, scenario::Scenario};

/// Environment variable with the path of the scenario file.
pub const SCENARIO: &str = "NVML_SCENARIO";

/// Environment variable with the path of the call table, which is written if it is set.
pub const CALLS: &str = "NVML_SCENARIO_CALLS";
