//! Sessions: what they are ([`model`]), which of them there are ([`registry`]), and which slot of the
//! kernel's maps each has ([`slots`]); [`net`] adds up what its connections
//! carried, and [`presence`] is how those of its clients came and went; [`utilization`] how much of its CPUs it used; [`growth`] keeps what its cgroups counted; [`recent`] what it waited of late; [`history`] what it did over the last day, and [`findings`] what held it back; [`gpu`] joins what its processes do on the GPUs;
//! [`logon`] is how its start went, [`phase`] is where it is in its life, [`end`] how it ended, [`ended`] how many did,
//! [`experience`] what its user feels,
//! [`remembered`] what a restart must not forget; [`failures`] bounds what is logged of processes that fail,
//! [`templates`] what names from outside can do, [`budget`] what one session may take from the others; [`audit`]
//! compares the figures with the kernel's own.

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
