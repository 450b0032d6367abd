//! GPUs that the kernel suspends: none is woken to be measured, and none is kept awake.

use std::{fs, path::Path, thread, time::Duration};

use integration_tests::{
    agent::{Agent, Configuration},
    capability,
    cgroup::Tree,
    gpu::{Gpus, compute, device},
    mount_namespace,
    wait::{self, patient},
};
use sessionscope::telemetry::Event;
use tempfile::TempDir;

const DRIVERS: &str = "/sys/bus/pci/drivers";
const SUSPENDED: &str = "every GPU is suspended and is not woken to be measured";
const LET_GO: &str = "nobody uses a GPU, and the kernel may suspend it";
const SOON: Duration = Duration::from_secs(15);

/// What the kernel says of the power of one GPU.
struct Power(TempDir);

impl Power {
    fn is(&self, status: &str) {
        let folder = self.0.path().join("nvidia/0000:3b:00.0/power");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("control"), "auto\n").unwrap();
        // Never empty, whoever reads it meanwhile.
        let new = folder.join("new");
        fs::write(&new, format!("{status}\n")).unwrap();
        fs::rename(new, folder.join("runtime_status")).unwrap();
    }
}

fn until(agent: &Agent, reason: &str) {
    let up = f64::from(u8::from(reason.is_empty()));
    wait::until(&format!("the reason {reason:?}"), patient(SOON), || {
        let metrics = agent.metrics();
        let found = metrics.find("vdi_agent_gpu_up", &[("reason", reason)]);
        (found == Some(up)).then_some(())
    });
}

#[test]
fn a_suspended_gpu_is_not_woken_and_one_that_nobody_uses_is_let_go() {
    if !capability::kernel() {
        return;
    }
    let tree = Tree::new();
    let power = Power(tempfile::tempdir().unwrap());
    power.is("suspended");
    let mut gpus = Gpus::new(vec![device(0)]);
    let configuration = Configuration::of(&tree).set("gpu.release", "'3s'");
    let agent = mount_namespace::with_folder_at(power.0.path(), Path::new(DRIVERS), || {
        gpus.start(&configuration)
    });
    let calls = |gpus: &Gpus| gpus.calls().values().sum::<u64>();
    let wakes_nothing = |gpus: &Gpus| {
        until(&agent, SUSPENDED);
        let before = calls(gpus);
        thread::sleep(Duration::from_secs(3));
        assert_eq!(calls(gpus), before);
    };
    wakes_nothing(&gpus);
    assert_eq!(calls(&gpus), 0);
    // Somebody else wakes it, and is done soon.
    power.is("active");
    until(&agent, "");
    until(&agent, LET_GO);
    power.is("suspended");
    wakes_nothing(&gpus);
    // A process of which it is full.
    gpus.change(|s| s.devices[0].processes = vec![compute(1, 1 << 20)]);
    power.is("active");
    until(&agent, "");
    thread::sleep(Duration::from_secs(5));
    until(&agent, "");
    gpus.change(|s| s.devices[0].processes.clear());
    until(&agent, LET_GO);
    // It stays awake, because somebody else holds it: it is measured again.
    let held = || !agent.logged(Event::GpusHeld).is_empty();
    wait::until("the GPU is held", patient(2 * SOON), || {
        held().then_some(())
    });
    until(&agent, "");
}
