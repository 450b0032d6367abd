//! Sessions: what they are ([`model`]), which of them there are ([`registry`]), and which slot of the
//! kernel's maps each has ([`slots`]); [`net`] adds up what its connections
//! carried, [`utilization`] how much of its CPUs it used.

pub mod model;
pub mod net;
pub mod registry;
pub mod slots;
pub mod utilization;
