//! NVIDIA's own library on a machine without its driver: that it is the one, that it says why it cannot
//! work, and that the device node that it makes as root stays out of the machine's `/dev`.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    cgroup::Tree,
    mount_namespace,
    nvml_library::{self, SONAME},
    workload::{Workload, two_cpus},
};
use object::{
    Endianness, Object,
    elf::{DT_SONAME, FileHeader64},
    read::elf::{Dyn, ElfFile},
};
use sessionscope::telemetry::Event;

fn library() -> Option<PathBuf> {
    match nvml_library::path() {
        Ok(library) => Some(library),
        Err(reason) => {
            capability::skip(&format!("no library of NVIDIA's: {reason:#}"));
            None
        }
    }
}

#[test]
fn the_library_has_the_name_that_programs_load_it_by() {
    let Some(library) = library() else { return };
    let bytes = fs::read(&library).expect("it was unpacked");
    let file = ElfFile::<FileHeader64<Endianness>>::parse(&*bytes).expect("it is ELF of 64 bits");
    let exports = file.exports().expect("it has symbols");
    assert!(exports.iter().any(|symbol| symbol.name() == b"nvmlInit_v2"));

    let endian = file.endian();
    let sections = file.elf_section_table();
    let (dynamic, strings) = sections
        .dynamic(endian, &*bytes)
        .expect("its sections can be read")
        .expect("it is a shared object");
    let strings = sections
        .strings(endian, &*bytes, strings)
        .expect("its names can be read");
    let soname = dynamic
        .iter()
        .find(|entry| entry.tag(endian) == DT_SONAME)
        .expect("it has a soname");
    let soname = soname.string(endian, strings).expect("the name is there");
    assert_eq!(soname, SONAME.as_bytes());
}

#[test]
fn without_a_driver_it_says_so_and_leaves_no_device_node() {
    if !capability::kernel() {
        return;
    }
    if Path::new("/proc/driver/nvidia").exists() {
        capability::skip_on_this_kernel("the driver of NVIDIA is loaded");
        return;
    }
    let Some(library) = library() else { return };
    let before = device_nodes();
    let (output, made) = mount_namespace::with_own_dev(|| {
        assert_eq!(device_nodes(), BTreeSet::new());
        let output = Command::new(env!("CARGO_BIN_EXE_nvml-init"))
            .arg(&library)
            .output()
            .expect("it starts");
        (output, device_nodes())
    });
    eprintln!("in the private /dev: {made:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    // NVML_ERROR_DRIVER_NOT_LOADED, 9.
    assert_eq!(said.trim(), "DriverNotLoaded", "{output:?}");
    assert_eq!(device_nodes(), before);
}

#[test]
fn an_agent_without_a_driver_measures_all_but_the_gpus() {
    if !capability::kernel() {
        return;
    }
    if Path::new("/proc/driver/nvidia").exists() {
        capability::skip_on_this_kernel("the driver of NVIDIA is loaded");
        return;
    }
    let Some(library) = library() else { return };
    let before = device_nodes();
    let tree = Tree::new();
    let desk = tree.child("desk");
    // The library that is named is initialised, and says itself that there is no driver. The checkout may be
    // another user's, from whose folders an agent loads nothing.
    let place = tempfile::tempdir().unwrap();
    let library = nvml_scenario::library::copy(&library, place.path()).unwrap();
    let named = Configuration::of(&tree).set("gpu.library", &format!("'{}'", library.display()));
    let asked = mount_namespace::with_own_dev(|| Agent::start(&named));
    // One that is searched is not even loaded: as root it would make device nodes.
    let searched = Agent::start(&Configuration::of(&tree));
    for agent in [&asked, &searched] {
        agent.wait_for(&["desk"]);
    }
    let [cpu, _] = two_cpus();
    let talk = ["pingpong", "--switches", "1000", "--cpu", &cpu];
    Workload::start(env!("CARGO_BIN_EXE_workload"), &desk, &talk).run();
    // Over some attempts to initialise it.
    thread::sleep(Duration::from_secs(4));
    for agent in [&asked, &searched] {
        let metrics = agent.fresh_metrics();
        let down = [("reason", "the NVIDIA driver is not loaded")];
        assert_eq!(metrics.count("vdi_agent_gpu_up", &down), 0);
        let of_gpus = ["vdi_gpu_", "vdi_session_gpu_", "vdi_session_encoder_"];
        let shown = metrics.samples.iter().find(|sample| {
            let starts = |prefix: &&str| sample.name.starts_with(prefix);
            of_gpus.iter().any(starts)
        });
        assert_eq!(shown, None);
        let said = agent.logged(Event::GpusUnmeasured);
        assert_eq!(said.len(), 1, "{said:?}");
        assert_eq!(
            (&said[0]["level"], &said[0]["reason"]),
            (&"info".into(), &down[0].1.into())
        );
        let switches =
            metrics.matching("vdi_session_context_switches_total", &[("session", "desk")]);
        let switches: f64 = switches.map(|sample| sample.value).sum();
        assert!(switches >= 1000.0, "{switches}");
    }
    let attempts = |agent: &Agent| {
        let call = [("call", "nvmlInit_v2")];
        agent
            .metrics()
            .count_if_any("vdi_agent_gpu_call_seconds_count", &call)
    };
    assert!(attempts(&asked) > 1);
    assert_eq!(attempts(&searched), 0);
    assert_eq!(device_nodes(), before);
}

/// NVIDIA's nodes in the `/dev` of this thread.
fn device_nodes() -> BTreeSet<OsString> {
    let entries = fs::read_dir("/dev").expect("/dev can be read");
    entries
        .map(|entry| entry.expect("/dev can be read").file_name())
        .filter(|name| name.as_encoded_bytes().starts_with(b"nvidia"))
        .collect()
}
