//! Loads a library with the interface of NVML, initialises it and prints how that ended: `Ok`, or the name
//! of the error.

use std::env;

use nvml_wrapper::Nvml;

fn main() {
    let library = env::args_os().nth(1).expect("usage: nvml-init <library>");
    match Nvml::builder().lib_path(&library).init() {
        Ok(_) => println!("Ok"),
        Err(error) => println!("{error:?}"),
    }
}
