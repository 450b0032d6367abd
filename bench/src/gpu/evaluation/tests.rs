//! The comparison on recordings that are written down.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lab::exposition::Exposition;

use super::super::nvidia_smi::{Device, ProcessMemory, ProcessUtilization};
use super::super::watch::{Recording, Scrape, Series};
use super::{Evaluation, MIB, Pids};
use crate::example::exposition;

/// What the agent says after so many seconds; `many` loses a process after the second scrape.
fn metrics(seconds: f64, many_mib: f64) -> Exposition {
    let session = |(session, mib, busy): (&str, f64, f64)| {
        let labels = format!("session=\"{session}\",namespace=\"gpu\",template=\"{session}\"");
        let (bytes, busy) = (mib * MIB, busy * seconds);
        let milestone = format!("{{template=\"{session}\",milestone=\"first_gpu_context\"}}");
        format!(
            "vdi_session_gpu_memory_bytes{{{labels},gpu=\"0\"}} {bytes}\n\
             vdi_session_gpu_busy_seconds_total{{{labels},gpu=\"0\",engine=\"sm\"}} {busy}\n\
             vdi_session_gpu_busy_seconds_total{{{labels},gpu=\"0\",engine=\"memory\"}} 77\n\
             vdi_session_startup_seconds_sum{milestone} 2.5\n\
             vdi_session_startup_seconds_count{milestone} 1\n"
        )
    };
    let sessions = [
        ("busy", 1500.0, 0.6),
        ("light", 900.0, 0.2),
        ("many", many_mib, 0.1),
    ];
    let sessions: String = sessions.into_iter().map(session).collect();
    exposition(&format!(
        "{sessions}vdi_gpu_memory_used_bytes{{gpu=\"0\"}} {}\n\
         vdi_gpu_unattributed_memory_bytes{{gpu=\"0\"}} {}\n\
         vdi_gpu_utilization_ratio{{gpu=\"0\"}} 0.9\n\
         vdi_gpu_xid_errors_total{{gpu=\"0\",xid=\"31\"}} 1\n\
         vdi_session_gpu_xid_errors_total{{session=\"faulty\",gpu=\"0\",xid=\"31\"}} 1\n\
         vdi_session_ended_total{{template=\"faulty\",reason=\"gpu_error\"}} 1\n",
        (3400.0 + many_mib) * MIB,
        1000.0 * MIB,
    ))
}

fn device() -> Device {
    Device {
        index: 0,
        uuid: "GPU-1".into(),
        name: "NVIDIA L4".into(),
        driver: "580".into(),
        utilization: Some(0.95),
        memory_used: Some(3600.0 * MIB),
        memory_total: Some(24_000.0 * MIB),
    }
}

fn memory(processes: &[(u32, f64)]) -> Vec<ProcessMemory> {
    let one = |(pid, mib): &(u32, f64)| ProcessMemory {
        uuid: "GPU-1".into(),
        pid: *pid,
        memory: Some(mib * MIB),
    };
    processes.iter().map(one).collect()
}

fn series<T>(begin: Instant, values: Vec<T>) -> Series<T> {
    let at = |number: usize| begin + Duration::from_secs(10 * number as u64);
    let values = values.into_iter().enumerate();
    Series {
        values: values.map(|(number, value)| (at(number), value)).collect(),
        failure: None,
    }
}

fn recording() -> Recording {
    let begin = Instant::now();
    let scrape = |(number, metrics): (u32, Exposition)| Scrape {
        begin: begin + Duration::from_secs(10 * u64::from(number)),
        seconds: 0.002,
        metrics,
    };
    let states = [(0.0, 400.0), (10.0, 400.0), (20.0, 200.0)];
    let states = states.map(|(seconds, mib)| metrics(100.0 + seconds, mib));
    let busy = |pid, sm| ProcessUtilization { gpu: 0, pid, sm };
    let processes = vec![
        busy(1, Some(0.65)),
        busy(2, Some(0.15)),
        busy(3, Some(0.05)),
        busy(4, None),
    ];
    let all = [(1, 1500.0), (2, 901.0), (3, 201.0), (4, 200.0), (9, 600.0)];
    Recording {
        scrapes: (0_u32..).zip(states).map(scrape).collect(),
        devices: series(begin, vec![vec![device()]; 3]),
        memory: series(
            begin,
            vec![
                memory(&all),
                memory(&all),
                memory(&[all[0], all[1], all[2], all[4]]),
            ],
        ),
        utilization: series(begin, vec![processes; 3]),
        death: begin + Duration::from_secs(15),
        waits: BTreeMap::new(),
    }
}

fn lines(recording: &Recording) -> Vec<(String, String, bool)> {
    let pids = |before: &[u32], after: &[u32]| Pids {
        before: before.to_vec(),
        after: after.to_vec(),
    };
    let evaluation = Evaluation {
        recording,
        device: &device(),
        sessions: [pids(&[1], &[1]), pids(&[2], &[2]), pids(&[3, 4], &[3])],
        outside: vec![9],
    };
    let lines = evaluation.lines().into_iter();
    lines
        .map(|line| {
            (
                line.subject.clone(),
                line.cells().join(" | "),
                line.passes(),
            )
        })
        .collect()
}

#[test]
fn figures_that_agree_pass() {
    let lines = lines(&recording());
    assert_eq!(lines.len(), 3 * 4 + 5 + 3);
    for (_, text, passes) in &lines {
        assert!(passes, "{text}");
    }
    let many: Vec<_> = lines
        .iter()
        .filter(|(subject, ..)| subject == "many")
        .collect();
    assert_eq!(
        many[0].1,
        "many | memory before a process dies | 400.0 MiB | 401.0 MiB | within 4.0 MiB | pass"
    );
    assert_eq!(
        many[1].1,
        "many | memory at the end | 200.0 MiB | 201.0 MiB | within 2.0 MiB | pass"
    );
    assert_eq!(
        many[2].1,
        "many | busy ratio | 0.100 | 0.050 | within 0.100 | pass"
    );
}

#[test]
fn an_agent_without_the_series_fails_every_line() {
    let mut recording = recording();
    for scrape in &mut recording.scrapes {
        scrape.metrics = exposition("vdi_sessions 3\n");
    }
    for (_, text, passes) in lines(&recording) {
        assert!(!passes && text.contains("absent"), "{text}");
    }
}

#[test]
fn processes_that_nvidia_smi_does_not_list_are_nothing_to_compare_with() {
    let mut recording = recording();
    for (_, processes) in &mut recording.memory.values {
        processes.retain(|process| process.pid != 1);
    }
    for (_, processes) in &mut recording.utilization.values {
        for process in processes {
            process.sm = None;
        }
    }
    let failed: Vec<_> = lines(&recording)
        .into_iter()
        .filter(|line| !line.2)
        .collect();
    assert_eq!(failed.len(), 2 + 3, "{failed:?}");
}

#[test]
fn a_process_without_samples_is_idle_where_others_have_some() {
    let mut recording = recording();
    for (_, processes) in &mut recording.utilization.values {
        processes[1].sm = None;
    }
    let lines = lines(&recording);
    let light = lines.iter().find(|line| line.1.starts_with("light | busy"));
    // The agent has 0.2: the driver's idleness is a figure that it is compared with.
    let expected = "light | busy ratio | 0.200 | 0.000 | within 0.100 | **fail**";
    assert_eq!(light.map(|line| line.1.as_str()), Some(expected));
}

#[test]
fn memory_that_is_kept_for_a_dead_process_fails() {
    let mut recording = recording();
    if let Some(last) = recording.scrapes.last_mut() {
        last.metrics = metrics(120.0, 400.0);
    }
    let failed: Vec<_> = lines(&recording)
        .into_iter()
        .filter(|line| !line.2)
        .collect();
    assert_eq!(failed[0].1.split(" | ").nth(1), Some("memory at the end"));
}
