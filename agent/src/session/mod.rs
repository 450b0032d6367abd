//! Sessions: what they are ([`model`]), which of them there are ([`registry`]), and which slot of the
//! kernel's maps each has ([`slots`]).

pub mod model;
pub mod registry;
pub mod slots;
