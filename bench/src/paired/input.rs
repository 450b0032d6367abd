//! `bench input`: what measuring input takes of a message on a Unix socket, as a comparison, and of a busy desktop.

use anyhow::{Context, Result};
use aya::sys::{Stats, enable_stats};
use lab::cgroup::Tree;
use lab::cpus::allowed;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sessionscope::kernel::object::TaskStore;

use super::comparison::{self, Subject as _};
use super::displays::MESSAGES_A_SECOND;
use super::exchange::Exchange;
use super::growth::Wanted;
use super::interval::Interval;
use super::operations::Kind;
use super::rounds::{Figure, Plan, Rounds, Slices};
use super::side::{Floors, Nothing, Programs, Side};
use super::subjects::Input;
use crate::cost::measuring::{self, Bench};
use crate::cost::sessions::PARENT;
use crate::numbers::UNKNOWN;
use crate::table::table;

const SESSION: &str = "desktop";
/// Slices of the desktop are so much longer than those of the comparison, and so many times fewer.
const LONGER: u32 = 5;
const FEWER: usize = 2;
/// Microseconds of CPU a second that the desktop may cost.
const DESKTOP_US: f64 = 1_000.0;

/// What `bench input` measures.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measurements {
    compared: comparison::Measurements<Input>,
    desktop: Desktop,
}

/// Microseconds of CPU a second, beside the desktop.
#[derive(Debug, Serialize, Deserialize)]
struct Desktop {
    /// In the programs on messages, above empty ones there.
    programs: Interval,
    /// That the empty ones run at all.
    empty: Interval,
}

/// Takes all measurements.
pub(crate) fn measure(options: &Slices, bench: &Bench<'_>) -> Result<Measurements> {
    Ok(Measurements {
        compared: comparison::measure::<Input>(options, bench)?,
        desktop: Desktop::measure(options.plan(), bench)?,
    })
}

impl Desktop {
    fn measure(plan: Plan, bench: &Bench<'_>) -> Result<Self> {
        let plan = Plan {
            rounds: plan.rounds / FEWER,
            slice: plan.slice * LONGER,
        };
        let cpu = allowed()?
            .pop()
            .context("no CPU is allowed to this process")?;
        let cgroups = Tree::create(PARENT, &[SESSION])?;
        let session = cgroups.path_of(SESSION);
        let mut load = Exchange::start(Kind::Desktop, Some(&session), cpu)?;
        // Once it answers, its sockets are there.
        load.run(plan.slice)?;
        let mut floors = Floors::load(Input::EMPTY_ON)?;
        let mut of = |sides: &mut [&mut dyn Side], figure, what| {
            let rounds = Rounds::take(plan, &mut load, sides, bench.interrupted)?;
            let a_message = rounds.difference(1, 0, figure)?;
            // A load that came too late for some of its messages is not cheaper for that.
            let us = a_message.times(f64::from(MESSAGES_A_SECOND) / 1e3);
            eprintln!("{}, {what}: {us} µs a second", Kind::Desktop.label());
            anyhow::Ok(us)
        };
        let sides: &mut [&mut dyn Side] = &mut [&mut Nothing, &mut floors];
        let empty = of(sides, Figure::Operation, "empty programs")?;
        let _statistics =
            enable_stats(Stats::RunTime).context("cannot turn the BPF statistics on")?;
        let mut agent = Programs::load(TaskStore::TaskStorage, Some(&session), true)?;
        agent.mark_open_sockets(Kind::Desktop.measured_sockets())?;
        let sides: &mut [&mut dyn Side] = &mut [&mut floors, &mut agent];
        let programs = of(sides, Figure::Programs(&Input::PROGRAMS), "the agent's")?;
        Ok(Self { programs, empty })
    }
}

impl Measurements {
    /// What is promised, what was measured, and whether it is met.
    fn promises(&self) -> Vec<Vec<String>> {
        let hook = |what: &str, load, most: f64| {
            let dearest = self.compared.dearest(load);
            let (measured, verdict) = dearest.map_or_else(
                || (UNKNOWN.to_owned(), "not measured".to_owned()),
                |(program, above)| {
                    let measured = format!("{above}; in `{program}`, the dearest");
                    (measured, Wanted::AtMost(most).verdict(above))
                },
            );
            vec![format!("{what}, ns a hook"), measured, verdict]
        };
        vec![
            hook(
                "a message on a Unix socket that nobody asks about, in a session and in none",
                Kind::Messages,
                Input::UNMARKED_NS,
            ),
            hook(
                "a message on a socket at which input is measured",
                Kind::DisplayMessages,
                Input::MARKED_NS,
            ),
            vec![
                format!("{}, µs of CPU a second", Kind::Desktop.label()),
                self.desktop.programs.to_string(),
                Wanted::AtMost(DESKTOP_US).verdict(self.desktop.programs),
            ],
            vec![
                "the same with empty programs there, µs of CPU a second".into(),
                self.desktop.empty.to_string(),
                String::new(),
            ],
        ]
    }
}

impl measuring::Measurements for Measurements {
    const NAME: &'static str = "input";

    fn summary(&self) -> Value {
        serde_json::json!({ "compared": self.compared.summary(), "desktop": self.desktop })
    }

    fn markdown(&self) -> String {
        [
            self.compared.markdown(),
            "What is promised. All is above empty programs at the same hooks, and what these take of the desktop is the last row:"
                .to_owned(),
            table(
                &["what is promised", "measured, and its 95 % interval", "met"],
                &self.promises(),
            ),
        ]
        .join("\n\n")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::interval::Interval;
    use super::super::subjects::Input;
    use super::Measurements;
    use crate::cost::measuring::Measurements as _;
    use crate::machine::Machine;

    fn run(load: &str, program: &str, above: f64, wanted: Option<f64>) -> Value {
        json!({
            "load": load,
            "side": "the agent",
            "program": program,
            "often": 1.0,
            "above": Interval::of(&[above; 8]),
            "wanted": wanted,
        })
    }

    /// Unmarked ones in a session take so much, and in none nothing; the desktop takes that many microseconds a second.
    fn measured(unmarked: [f64; 3], desktop: &[f64]) -> Measurements {
        let mut runs = vec![run("messages", "sched_switch", 500.0, None)];
        for (program, above) in Input::PROGRAMS.into_iter().zip(unmarked) {
            runs.push(run("messages", program, above, Some(10.0)));
            runs.push(run("messages", program, 0.0, Some(10.0)));
            runs.push(run("display-messages", program, 10.0 * above, Some(130.0)));
        }
        let compared = json!({
            "machine": Machine::example(),
            "command": "cargo xtask bench input",
            "added": [],
            "runs": runs,
            "absent": [],
        });
        let desktop = json!({
            "programs": Interval::of_mean(desktop),
            "empty": Interval::of(&[200.0; 8]),
        });
        serde_json::from_value(json!({ "compared": compared, "desktop": desktop })).unwrap()
    }

    #[test]
    fn a_promise_is_held_against_the_dearest_hook_and_the_whole_interval() {
        let text = measured([3.0, 9.0, 4.0], &[600.0; 8]).markdown();
        for expected in [
            "| +9.0 (+9.0 to +9.0); in `sock_send_length`, the dearest | ≤ 10: met |",
            "| +90 (+90 to +90); in `sock_send_length`, the dearest | ≤ 130: met |",
            "| +600 (+600 to +600) | ≤ 1000: met |",
            "| +200 (+200 to +200) |  |",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        let text = measured([3.0, 4.0, 11.0], &[1_200.0, 700.0, 900.0, 1_250.0]).markdown();
        for expected in [
            "in `sock_recv_length`, the dearest | ≤ 10: **not met** |",
            "≤ 1000: the interval does not tell |",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }

    #[test]
    fn what_was_not_measured_of_a_hook_is_not_met() {
        let measured = serde_json::to_value(measured([1.0; 3], &[600.0; 8])).unwrap();
        for missing in [1, 2, 3] {
            let mut less = measured.clone();
            let runs = less["compared"]["runs"].as_array_mut().unwrap();
            runs.remove(missing);
            let less: Measurements = serde_json::from_value(less).unwrap();
            assert_eq!(less.markdown().matches("| – | not measured |").count(), 1);
        }
    }
}
