//! Gives the library the name that the driver's own carries, so that a process that already has one
//! of the two by name is not handed the other.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libnvidia-ml.so.1");
}
