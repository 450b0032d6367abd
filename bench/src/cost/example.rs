//! A comparison with round numbers, for the tests of what is made of one.

use super::comparison::{Comparison, ProgramRuns, Round};
use super::condition::{Condition, Peer};
use super::load::{Description, Measurement, Unit};
use super::programs::Runs;
use crate::machine::Machine;

/// What added times are shares of.
pub(super) const RUNQLAT: Condition = Condition::Peer(Peer::Runqlat);

fn round(without: f64, agent: f64) -> Round {
    let sample = |microseconds: f64| {
        vec![Measurement {
            seconds: microseconds / 1e6,
            repeated: 1,
            disturbed: 0,
            operations: 2000,
            others: 0.0,
        }]
    };
    Round {
        // A drift before and after a condition cancels out.
        without: [-0.2, 0.2, -0.2, 0.2]
            .map(|drift| sample(without + drift))
            .into(),
        with: vec![
            (Condition::Floor, sample(without)),
            (Condition::Agent, sample(agent)),
            (RUNQLAT, sample(without + 1.0)),
        ],
    }
}

fn program(condition: Condition, program: &str, count: u64, ns: u64) -> ProgramRuns {
    ProgramRuns {
        condition,
        load: 0,
        program: program.into(),
        runs: Runs { count, ns },
        operations: 10_000,
    }
}

/// Three rounds of one load.
pub(super) fn comparison() -> Comparison {
    Comparison {
        machine: Machine {
            kernel: "6.1".into(),
            processor: "A processor".into(),
            cpus: 2,
            virtualized: true,
            pid_max: 32_768,
            date: "2026-01-02".into(),
        },
        command: "cargo xtask bench sched".into(),
        loads: vec![Description {
            label: "a load".into(),
            operation: "turn".into(),
            unit: Unit::MicrosecondsPerOperation,
            promise: Some(0.9),
        }],
        conditions: vec![Condition::Floor, Condition::Agent, RUNQLAT],
        // The machine is slower in the second round, which must not show in the medians.
        rounds: vec![round(3.0, 3.1), round(6.0, 6.1), round(3.0, 9.0)],
        programs: vec![
            program(Condition::Floor, "floor", 20_000, 1_200_000),
            program(Condition::Agent, "sched_switch", 20_000, 1_600_000),
            program(Condition::Agent, "sched_switch", 20_000, 1_600_000),
            program(Condition::Agent, "census", 9, 9_000),
        ],
        absent: vec![(Condition::Peer(Peer::RunqlatBt), "no such file".into())],
        others: Vec::new(),
    }
}
