//! Comparisons in short slices that alternate, and what the agent takes of much that is there.
//!
//! [`side`] is what a load runs beside, [`exchange`] and [`still`] are processes with loads, [`operations`] what
//! they do, [`rounds`] takes the slices and [`interval`] says what they are worth. [`comparison`] is the benchmark
//! that [`subjects`] has the table of; [`input`] has more beside one, and [`resolution`], [`growth`], [`storm`] and
//! [`size`] are others. [`displays`] has the loads of `input`.

pub(crate) mod comparison;
mod displays;
pub(crate) mod exchange;
pub(crate) mod growth;
pub(crate) mod input;
mod interval;
mod operations;
pub(crate) mod resolution;
pub(crate) mod rounds;
mod side;
pub(crate) mod size;
pub(crate) mod still;
pub(crate) mod storm;
pub(crate) mod subjects;
