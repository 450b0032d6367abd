//! The metrics: [`catalog`] is the one list of families, [`family`] what a row is made of, [`label`] what its labels are, [`encode`] the
//! three exposition formats, [`created`] when series were 0, [`budget`] how many series there may be, [`reference`] what is generated from the list for people, [`process`] the
//! agent's own process, [`node`] what the kernel says of the whole node.

pub mod budget;
pub mod catalog;
pub mod created;
pub mod encode;
pub mod family;
pub mod http;
pub mod label;
pub mod node;
pub mod process;
pub mod reference;
pub mod settings;

pub use settings::Settings;
