//! The C interface, by subject. Pointers to single values are references that may be null, so that only
//! lists and texts need `unsafe`; what the references point to is the caller's promise, made by the
//! header.

mod devices;
mod health;
mod identity;
mod lists;
mod mig;
mod output;
mod processes;
mod readings;
mod sessions;
mod system;
mod wait;
