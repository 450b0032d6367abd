//! For tests: finds the cdylib that was built with this crate, and puts copies of it where an agent or
//! a test is to load one from.

use std::{
    env, fs, io,
    ops::Range,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// What the driver's library is called.
pub const NAME: &str = "libnvidia-ml.so.1";

/// Functions that a driver of the 470 branch does not have, of those that matter to a sampler: version
/// 3 of the process lists, version 2 of the memory, and what came after.
pub const MISSING_IN_470: &[&str] = &[
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetGraphicsRunningProcesses_v3",
    "nvmlDeviceGetMPSComputeRunningProcesses_v3",
    "nvmlDeviceGetMemoryInfo_v2",
    "nvmlDeviceGetProcessesUtilizationInfo",
    "nvmlDeviceGetCurrentClocksEventReasons",
    "nvmlDeviceGetSupportedClocksEventReasons",
    "nvmlDeviceGetConfComputeMemSizeInfo",
    "nvmlDeviceGetRunningProcessDetailList",
];

/// What the drivers from 535.43.02 to 535.86 do not have, and those after them have.
pub const MISSING_IN_535_86: &[&str] = &["nvmlDeviceGetRunningProcessDetailList"];

/// The cdylib, which is built beside the tests of every package that depends on this crate.
pub fn built() -> io::Result<PathBuf> {
    let executable = env::current_exe()?;
    executable
        .ancestors()
        .skip(1)
        .take(2)
        .flat_map(|folder| [folder.to_owned(), folder.join("deps")])
        .map(|folder| folder.join("libnvml_scenario.so"))
        .find(|path| path.exists())
        .ok_or_else(|| {
            let place = executable.display();
            io::Error::other(format!(
                "no libnvml_scenario.so beside {place}; build nvml-scenario"
            ))
        })
}

/// Puts a copy into a folder as `libnvidia-ml.so.1`, without some of its symbols, as an old driver has
/// them missing; for the loader they are not there. Each copy has a state of its own.
pub fn install(folder: &Path, missing: &[&str]) -> io::Result<PathBuf> {
    let mut image = fs::read(built()?)?;
    hide(&mut image, missing)?;
    put(&image, folder)
}

/// Puts a copy of a library into a folder as `libnvidia-ml.so.1`: an agent loads none that another user has built,
/// nor one in such a user's folder.
pub fn copy(library: &Path, folder: &Path) -> io::Result<PathBuf> {
    put(&fs::read(library)?, folder)
}

/// Writes it as nobody else may, whatever the mask is.
fn put(image: &[u8], folder: &Path) -> io::Result<PathBuf> {
    let path = folder.join(NAME);
    fs::write(&path, image)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    Ok(path)
}

/// Changes the names of symbols where the loader looks for them. The hash table still leads to the
/// entry of one, but the name no longer compares equal, so it does not resolve.
fn hide(image: &mut [u8], symbols: &[&str]) -> io::Result<()> {
    let names = dynamic_names(image).and_then(|names| image.get_mut(names));
    let names = names.ok_or_else(|| io::Error::other("the library is no ELF file of 64 bits"))?;
    let mut hidden = vec![false; symbols.len()];
    for name in names.split_mut(|byte| *byte == 0) {
        if let Some(number) = symbols.iter().position(|symbol| symbol.as_bytes() == name) {
            name[0] = b'-';
            hidden[number] = true;
        }
    }
    match hidden.iter().position(|hidden| !hidden) {
        Some(number) => Err(io::Error::other(format!(
            "the library has no symbol {}",
            symbols[number]
        ))),
        None => Ok(()),
    }
}

/// Where the names of the dynamic symbols are: the section that the one of type `SHT_DYNSYM` links to.
fn dynamic_names(image: &[u8]) -> Option<Range<usize>> {
    const SHT_DYNSYM: u64 = 11;
    let number = |offset: usize, length: usize| {
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(image.get(offset..offset + length)?);
        Some(u64::from_le_bytes(bytes))
    };
    // Offset, size of one, and number of the section headers.
    let (first, size, count) = (number(0x28, 8)?, number(0x3a, 2)?, number(0x3c, 2)?);
    let header = |section: u64| (first + section * size) as usize;
    let symbols = (0..count).find(|section| number(header(*section) + 4, 4) == Some(SHT_DYNSYM))?;
    let names = header(number(header(symbols) + 40, 4)?);
    let offset = number(names + 24, 8)? as usize;
    Some(offset..offset + number(names + 32, 8)? as usize)
}
