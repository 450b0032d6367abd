//! What a program that knows nothing of scenarios is given through its environment.

use std::{env, fs, path::Path, process::Command};

use nvml_scenario::{CALLS, SCENARIO, Scenario, calls, library, scenario::Device};
use nvml_wrapper::Nvml;

const LIBRARY: &str = "SESSIONSCOPE_TEST_LIBRARY";

/// The program: not a test by itself, but run by the one below with an environment of its own.
#[test]
#[ignore = "run by the other test"]
fn program() {
    let library = env::var_os(LIBRARY).unwrap();
    let nvml = Nvml::builder().lib_path(&library).init().unwrap();
    let device = nvml.device_by_index(0).unwrap();
    for _ in 0..5 {
        assert_eq!(device.power_usage().unwrap(), 1000);
    }
}

/// The same without a scenario.
#[test]
#[ignore = "run by the other test"]
fn program_without_a_scenario() {
    let library = env::var_os(LIBRARY).unwrap();
    let nvml = Nvml::builder().lib_path(&library).init().unwrap();
    assert_eq!(nvml.device_count().unwrap(), 0);
}

fn run(program: &str, library: &Path, environment: &[(&str, &Path)]) {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", program, "--ignored"])
        .env(LIBRARY, library)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    // A name that is no test's is no failure to the harness.
    assert!(said.contains("test result: ok. 1 passed"), "{said}");
}

#[test]
fn the_scenario_and_the_call_table_are_named_by_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let library = library::install(folder.path(), &[]).unwrap();
    let (scenario, table) = (
        folder.path().join("scenario.toml"),
        folder.path().join("calls"),
    );
    let device = Device {
        uuid: "GPU-1".to_owned(),
        power_milliwatts: Some(1000),
        ..Device::default()
    };
    Scenario {
        devices: vec![device],
        ..Scenario::default()
    }
    .write(&scenario)
    .unwrap();

    run(
        "program",
        &library,
        &[(SCENARIO, &scenario), (CALLS, &table)],
    );
    let counts = calls::read(&table).unwrap();
    let calls = |function: &str| counts.get(function).copied();
    assert_eq!(calls("nvmlDeviceGetPowerUsage"), Some(5));
    assert_eq!(calls("nvmlInit_v2"), Some(1));
    assert_eq!(calls("nvmlShutdown"), Some(1));
    assert_eq!(calls("nvmlDeviceGetUtilizationRates"), None);
}

#[test]
fn nothing_is_written_and_no_device_is_there_without_an_environment() {
    let folder = tempfile::tempdir().unwrap();
    let library = library::install(folder.path(), &[]).unwrap();
    run("program_without_a_scenario", &library, &[]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
