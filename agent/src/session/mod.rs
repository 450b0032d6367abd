//! Sessions: what they are ([`model`]), which of them there are ([`registry`]), and which slot of the kernel's maps each
//! has ([`slots`]).
//!
//! | of a session | |
//! |---|---|
//! | its life | [`logon`] how its start went, [`settled`] when it waits for its user, [`phase`] where it is, [`end`] how it ended, [`ended`] how many did, [`past`] what the last of them came to |
//! | its figures | [`net`] what its connections carried, [`presence`] how its clients came and went, [`experience`] what its user feels, [`utilization`] how much of its CPUs it used, [`gpu`] what its processes do on the GPUs, [`growth`] what its cgroups counted |
//! | over time | [`recent`] what it waited of late, [`history`] what it did over the last day, [`findings`] what held it back |
//! | bounds | [`budget`] what one may take from the others, [`failures`] what is logged of processes that fail, [`templates`] what names from outside can do |
//!
//! [`remembered`] is what a restart must not forget; [`audit`] compares the figures with the kernel's own.

pub mod audit;
pub mod budget;
pub mod end;
pub mod ended;
pub mod experience;
pub mod failures;
pub mod findings;
pub mod gpu;
pub mod growth;
pub mod history;
pub mod logon;
pub mod model;
pub mod net;
pub mod past;
pub mod phase;
pub mod presence;
pub mod recent;
pub mod registry;
pub mod remembered;
pub mod settings;
pub mod settled;
pub mod slots;
pub mod templates;
pub mod utilization;

pub use settings::Settings;
