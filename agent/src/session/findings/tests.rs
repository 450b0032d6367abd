use std::{fs, path::Path};

use super::*;

/// The limits of the alerts: file, name, threshold.
fn thresholds() -> Vec<(String, String, f64)> {
    let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/table");
    let mut all = Vec::new();
    for file in fs::read_dir(tables).expect("the tables of the alerts") {
        let text = fs::read_to_string(file.expect("a file").path()).expect("it can be read");
        let table: toml::Table = text.parse().expect("it is TOML");
        for alert in table["alert"].as_array().expect("alerts") {
            let thresholds = alert.get("thresholds").and_then(toml::Value::as_table);
            for (name, threshold) in thresholds.into_iter().flatten() {
                let value = &threshold["value"];
                let value = value.as_float().or(value.as_integer().map(|n| n as f64));
                let alert = alert["name"].as_str().expect("a name").to_owned();
                all.push((alert, name.clone(), value.expect("a number")));
            }
        }
    }
    all
}

#[test]
fn each_limit_is_the_one_of_its_alert() {
    let thresholds = thresholds();
    for rule in &RULES {
        let Some(alert) = rule.limit.alert else {
            assert_eq!(rule.cause, Cause::ThreadsBlocked, "{:?}", rule.cause);
            continue;
        };
        let same = |(name, threshold, value): &&(String, String, f64)| {
            name == alert.name
                && threshold == alert.threshold
                && (rule.limit.value * alert.times - value).abs() < 1e-9
        };
        assert!(
            thresholds.iter().any(|one| same(&one)),
            "{alert:?} of {:?}",
            rule.cause
        );
    }
}

#[test]
fn the_page_has_each_rule_in_order_with_its_limit_and_its_alert() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/explain.md");
    let page = fs::read_to_string(page).expect("the page");
    let (_, rest) = page
        .split_once("<!-- causes -->")
        .expect("where they begin");
    let (table, _) = rest.split_once("<!-- /causes -->").expect("where they end");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let expected = RULES.map(|rule| {
        let is_from = if rule.limit.is_inclusive {
            "from"
        } else {
            "over"
        };
        let limit = (rule.limit.value * 1e4).round() / 1e4;
        let alert = rule.limit.alert.map_or_else(String::new, |alert| {
            format!("[{0}](runbooks/{0}.md)", alert.name)
        });
        [
            format!("`{}`", rule.cause.name()),
            format!("{is_from} {limit}"),
            alert,
        ]
    });
    let said = rows
        .iter()
        .map(|row| [row[0], row[2], row[3]].map(ToOwned::to_owned));
    assert_eq!(said.collect::<Vec<_>>(), expected);
}

#[test]
fn each_cause_has_one_rule() {
    for cause in Cause::ALL {
        let rules = RULES.iter().filter(|rule| rule.cause == cause).count();
        assert_eq!(rules, 1, "{}", cause.name());
    }
}

fn busy() -> Step {
    Step::default()
        .with(Figure::Cpus, 0.8)
        .with(Figure::Contention, 0.01)
        .with(Figure::ThrottledOwn, 0.0)
        .with(Figure::WaitsTo1Ms, 100.0)
        .with(Figure::WaitsTo62Ms, 0.0)
        .with(Figure::WaitsLonger, 0.0)
        .with(Figure::RttP95, 0.03)
        .with(Figure::LateRoundTrips, 0.0)
        .with(Figure::Retransmits, 0.001)
        .with(Figure::MemoryShare, 0.4)
        .with(Figure::ReclaimStall, 0.0)
        .with(Figure::Uninterruptible, 0.0)
        .with(Figure::SlowBlockIo, 0.01)
        .with(Figure::LateInputs, 0.0)
        .with(Figure::Unanswered, 0.0)
        .with(Figure::Unresponsive, 0.0)
        .with(Figure::EncoderLatency, 0.004)
}

fn causes(steps: &[Step]) -> Vec<Cause> {
    let found = conclude(steps);
    found.iter().map(|finding| finding.rule.cause).collect()
}

#[test]
fn where_nothing_is_wrong_nothing_is_found() {
    assert_eq!(causes(&[busy(); 12]), []);
    assert_eq!(causes(&[Step::default(); 12]), []);
    assert_eq!(causes(&[]), []);
}

#[test]
fn each_trouble_is_found_and_is_the_first() {
    let troubles = [
        (
            Cause::CpuContention,
            vec![(Figure::Contention, 0.6), (Figure::WaitsTo62Ms, 20.0)],
        ),
        // Threads that a limit keeps from running may wait in what looks like contention.
        (
            Cause::CpuLimit,
            vec![
                (Figure::ThrottledOwn, 0.9),
                (Figure::Contention, 0.7),
                (Figure::WaitsTo62Ms, 20.0),
            ],
        ),
        (Cause::CpuLimitAbove, vec![(Figure::ThrottledAbove, 0.4)]),
        // It reads back what it has lost, and its input waits.
        (
            Cause::MemoryReclaim,
            vec![
                (Figure::ReclaimStall, 0.7),
                (Figure::MemoryShare, 0.97),
                (Figure::SlowBlockIo, 0.15),
                (Figure::LateInputs, 1.0),
            ],
        ),
        (Cause::MemoryLimit, vec![(Figure::MemoryShare, 0.96)]),
        (
            Cause::SlowDisk,
            vec![(Figure::SlowBlockIo, 0.8), (Figure::Uninterruptible, 2.0)],
        ),
        (
            Cause::ClientFar,
            vec![(Figure::LateRoundTrips, 1.0), (Figure::Retransmits, 0.021)],
        ),
        (Cause::ClientLossy, vec![(Figure::Retransmits, 0.1)]),
        (
            Cause::GpuFull,
            vec![(Figure::GpuFull, 0.9), (Figure::EncoderLatency, 0.02)],
        ),
        (Cause::EncoderSlow, vec![(Figure::EncoderLatency, 0.04)]),
        (Cause::ApplicationHangs, vec![(Figure::Unresponsive, 1.0)]),
        (Cause::ScreenFrozen, vec![(Figure::Unanswered, 1.0)]),
        (Cause::InputLate, vec![(Figure::LateInputs, 0.1)]),
        (Cause::ThreadsBlocked, vec![(Figure::Uninterruptible, 1.0)]),
    ];
    for (cause, figures) in troubles {
        let step = figures
            .iter()
            .fold(busy(), |step, (figure, value)| step.with(*figure, *value));
        assert_eq!(
            causes(&[step; 12]).first(),
            Some(&cause),
            "{}",
            cause.name()
        );
        // Half of the time is enough, a moment is not.
        let mut half = [busy(); 12];
        half[..6].fill(step);
        half.reverse();
        let is_found = causes(&half).contains(&cause);
        assert!(is_found, "{}", cause.name());
        // What hung half a minute ago does so no more.
        half.reverse();
        let is_found = causes(&half).contains(&cause);
        assert_eq!(is_found, cause != Cause::ThreadsBlocked, "{}", cause.name());
        let mut moment = [busy(); 12];
        moment[11] = step;
        assert_eq!(causes(&moment), [], "{}", cause.name());
    }
}

#[test]
fn half_of_the_cpu_is_missed_however_short_each_wait_is_and_a_part_of_nothing_is_not() {
    let half = busy()
        .with(Figure::Cpus, 0.5)
        .with(Figure::Contention, 0.5)
        .with(Figure::WaitsTo16Ms, 60.0);
    assert_eq!(causes(&[half; 12]), [Cause::CpuContention]);
    let little = busy()
        .with(Figure::Cpus, 0.001)
        .with(Figure::Contention, 0.02)
        .with(Figure::WaitsTo1Ms, 9.0)
        .with(Figure::WaitsTo62Ms, 0.2);
    assert_eq!(causes(&[little; 12]), []);
}

#[test]
fn a_finding_says_how_much_and_how_often() {
    let slow = busy().with(Figure::SlowBlockIo, 0.5);
    let mut steps = [busy(); 12];
    steps[3..9].fill(slow);
    let [finding] = &conclude(&steps)[..] else {
        panic!("one finding");
    };
    assert!((finding.value - 0.5).abs() < 0.001, "{}", finding.value);
    assert!((finding.share - 0.5).abs() < 0.001, "{}", finding.share);
}
