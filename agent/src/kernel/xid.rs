//! The NVIDIA driver's tracepoint for errors of a GPU (Xid): when it is there, and where its fields are.
//!
//! The driver has it from 575.51.02 on. It comes and goes with the module, so it is looked for at each scan.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use agent_common::xid::XidFields;
use aya::{
    Ebpf,
    maps::Array,
    programs::{Program, TracePoint},
};

use super::maps::XID_FIELDS;

/// Where tracefs is: its own place, and that below debugfs, which older systems mount.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// Bytes of a number, and of the place of a string (`__data_loc`).
const FIELD_BYTES: &str = "4";

/// Whether the driver has the tracepoint.
pub(super) fn is_there(category: &str, name: &str) -> bool {
    folder(category, name).is_some()
}

/// Loads the program of the tracepoint, unless it is loaded, and attaches it if the tracepoint is there.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    program: &str,
    category: &str,
    name: &str,
) -> Result<(), Box<dyn Error>> {
    let loaded = tracepoint(ebpf, program)?;
    // Without the driver too: what the verifier has to say is known before the driver comes.
    if loaded.fd().is_err() {
        loaded.load()?;
    }
    let folder = folder(category, name).ok_or_else(|| absence(category, name))?;
    let format = folder.join("format");
    let text = fs::read_to_string(&format).map_err(|e| format!("{}: {e}", format.display()))?;
    let fields = fields(&text).map_err(|e| format!("{}: {e}", format.display()))?;
    let map = ebpf
        .map_mut(XID_FIELDS)
        .ok_or("no such map in the object")?;
    Array::try_from(map)?.set(0, fields, 0)?;
    tracepoint(ebpf, program)?.attach(category, name)?;
    Ok(())
}

fn tracepoint<'a>(ebpf: &'a mut Ebpf, program: &str) -> Result<&'a mut TracePoint, Box<dyn Error>> {
    let program: &mut Program = ebpf
        .program_mut(program)
        .ok_or_else(|| format!("no program {program} in the object"))?;
    Ok(program.try_into()?)
}

fn folder(category: &str, name: &str) -> Option<PathBuf> {
    let below = |root| Path::new(root).join("events").join(category).join(name);
    TRACEFS.into_iter().map(below).find(|path| path.is_dir())
}

fn absence(category: &str, name: &str) -> String {
    let mounted = |root: &str| Path::new(root).join("events").is_dir();
    if TRACEFS.into_iter().any(mounted) {
        format!(
            "no tracepoint {category}:{name}: the NVIDIA driver is not loaded or is older than 575.51.02"
        )
    } else {
        let [place, _] = TRACEFS;
        format!(
            "{category}:{name} cannot be looked for: tracefs is not mounted at {place}, or not for this user"
        )
    }
}

/// Finds the fields in a tracepoint's `format` file. Its lines look like
/// `field:__data_loc char[] dev; offset:8; size:4; signed:0;`, with tabs between the parts.
fn fields(format: &str) -> Result<XidFields, String> {
    let offset = |name, is_string| {
        offset(format, name, is_string).ok_or_else(|| {
            let kind = if is_string { "string" } else { "number" };
            format!("no field {name} that is a {kind} as the agent reads it")
        })
    };
    Ok(XidFields {
        dev: offset("dev", true)?,
        error_code: offset("error_code", false)?,
        msg: offset("msg", true)?,
    })
}

/// Where a field of [`FIELD_BYTES`] is. The type of a number may have any name, as `u32` and `uint32_t`.
fn offset(format: &str, name: &str, is_string: bool) -> Option<u32> {
    format.lines().find_map(|line| {
        let mut parts = line.trim().split(';').map(str::trim);
        let declaration = parts.next()?.strip_prefix("field:")?;
        let offset = parts.next()?.strip_prefix("offset:")?.parse().ok()?;
        let size = parts.next()?.strip_prefix("size:")?;
        let (kind, found) = declaration.rsplit_once(' ')?;
        let fits = size == FIELD_BYTES && (kind == "__data_loc char[]") == is_string;
        (found == name && fits).then_some(offset)
    })
}

/// A format has its fields or lacks one.
#[cfg(any(test, fuzzing))]
pub(crate) fn must_hold(format: &str) {
    let lacking = ["dev", "error_code", "msg"].map(|name| format!("no field {name} that"));
    if let Err(reason) = fields(format) {
        let is_said = lacking.iter().any(|field| reason.starts_with(field));
        assert!(is_said, "{reason}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fuzz::{self, text_like};

    const FORMAT: &str = "name: nvidia_dev_xid\nID: 2101\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:__data_loc char[] dev;\toffset:8;\tsize:4;\tsigned:0;\n\
        \tfield:u32 error_code;\toffset:12;\tsize:4;\tsigned:0;\n\
        \tfield:__data_loc char[] msg;\toffset:16;\tsize:4;\tsigned:0;\n\n\
        print fmt: \"%s\", __get_str(dev)\n";

    #[test]
    fn fields_are_found_in_the_format_file() {
        let wanted = XidFields {
            dev: 8,
            error_code: 12,
            msg: 16,
        };
        assert_eq!(fields(FORMAT), Ok(wanted));
        let renamed = FORMAT.replace("u32 error_code", "uint32_t error_code");
        assert_eq!(fields(&renamed), Ok(wanted));
    }

    #[test]
    fn a_field_of_another_kind_is_refused_by_its_name() {
        let other = FORMAT.replace("__data_loc char[] msg", "char msg[256]");
        assert!(fields(&other).unwrap_err().contains("msg"));
        let longer = FORMAT.replace("offset:12;\tsize:4", "offset:12;\tsize:8");
        assert!(fields(&longer).unwrap_err().contains("error_code"));
    }

    proptest! {
        #![proptest_config(fuzz::config())]

        #[test]
        fn whatever_a_format_file_says_has_its_fields_or_lacks_one(format in text_like(&[FORMAT])) {
            must_hold(&format);
        }
    }
}
