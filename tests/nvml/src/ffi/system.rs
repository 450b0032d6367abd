//! Initialisation and the driver itself.

#![expect(unsafe_code, reason = "the C interface")]

use std::ffi::{CStr, OsStr, c_char, c_int, c_uint};
use std::os::unix::ffi::OsStrExt;

use nvml_wrapper_sys::bindings::nvmlReturn_t;

use super::output::{Out, put, put_text};
use crate::{
    Code,
    call::{Needs, guarded, on_node},
    state::lock,
};

fn initialise(function: &'static str) -> nvmlReturn_t {
    on_node(function, Needs::Nothing, |state| {
        if !state.scenario.driver_loaded {
            return Err(Code::DRIVER_NOT_LOADED);
        }
        state.initialised += 1;
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> nvmlReturn_t {
    initialise("nvmlInit_v2")
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInitWithFlags(_flags: c_uint) -> nvmlReturn_t {
    initialise("nvmlInitWithFlags")
}

#[unsafe(no_mangle)]
extern "C" fn nvmlShutdown() -> nvmlReturn_t {
    on_node("nvmlShutdown", Needs::Initialised, |state| {
        state.initialised -= 1;
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlErrorString(result: nvmlReturn_t) -> *const c_char {
    let text = match Code(result) {
        Code::SUCCESS => c"Success",
        Code::UNINITIALIZED => c"Uninitialized",
        Code::INVALID_ARGUMENT => c"Invalid Argument",
        Code::NOT_SUPPORTED => c"Not Supported",
        Code::NO_PERMISSION => c"Insufficient Permissions",
        Code::NOT_FOUND => c"Not Found",
        Code::INSUFFICIENT_SIZE => c"Insufficient Size",
        Code::DRIVER_NOT_LOADED => c"Driver Not Loaded",
        Code::TIMEOUT => c"Timeout",
        Code::GPU_IS_LOST => c"GPU is lost",
        _ => c"Unknown Error",
    };
    text.as_ptr()
}

/// # Safety
///
/// `version` is null or good for `length` writes.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetDriverVersion(
    version: *mut c_char,
    length: c_uint,
) -> nvmlReturn_t {
    on_node("nvmlSystemGetDriverVersion", Needs::Initialised, |state| {
        // SAFETY: the same promise.
        unsafe { put_text(&state.scenario.driver_version, version, length) }
    })
}

/// # Safety
///
/// `version` is null or good for `length` writes.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetNVMLVersion(
    version: *mut c_char,
    length: c_uint,
) -> nvmlReturn_t {
    on_node("nvmlSystemGetNVMLVersion", Needs::Nothing, |state| {
        // SAFETY: the same promise.
        unsafe { put_text(&state.scenario.nvml_version, version, length) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlSystemGetCudaDriverVersion_v2(version: Out<'_, c_int>) -> nvmlReturn_t {
    on_node(
        "nvmlSystemGetCudaDriverVersion_v2",
        Needs::Nothing,
        |state| put(version, state.scenario.cuda_version),
    )
}

/// # Safety
///
/// `name` is null or good for `length` writes.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetProcessName(
    pid: c_uint,
    name: *mut c_char,
    length: c_uint,
) -> nvmlReturn_t {
    on_node("nvmlSystemGetProcessName", Needs::Initialised, |_| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).map_err(|_| Code::NOT_FOUND)?;
        let program = command.split(|byte| *byte == 0).next().unwrap_or_default();
        let mut program = String::from_utf8_lossy(program).into_owned();
        while program.len() >= length as usize && program.pop().is_some() {}
        // SAFETY: the same promise.
        unsafe { put_text(&program, name, length) }
    })
}

/// Not of NVML: another scenario file for this copy of the library, for a caller that shares its
/// environment with others, such as the tests of one process.
///
/// # Safety
///
/// `path` is a C string.
#[unsafe(no_mangle)]
unsafe extern "C" fn sessionscopeNvmlScenario(path: *const c_char) -> nvmlReturn_t {
    guarded(|| {
        // SAFETY: the same promise.
        let path = unsafe { CStr::from_ptr(path) };
        let mut state = lock();
        state
            .source
            .set_path(OsStr::from_bytes(path.to_bytes()).into());
        state.refresh();
        Ok(())
    })
}
