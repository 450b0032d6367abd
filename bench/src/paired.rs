//! Comparisons in short slices that alternate, and what the agent takes of much that is there.
//!
//! [`side`] is what a load runs beside, [`exchange`] and [`still`] are loads, [`rounds`] takes the slices and
//! [`interval`] says what they are worth; [`switches`], [`hooks`], [`resolution`], [`growth`] and [`size`] are
//! the benchmarks.

pub(crate) mod exchange;
pub(crate) mod growth;
pub(crate) mod hooks;
mod interval;
pub(crate) mod resolution;
pub(crate) mod rounds;
mod side;
pub(crate) mod size;
pub(crate) mod still;
pub(crate) mod switches;
