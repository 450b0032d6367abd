//! One figure of the agent beside the same from `nvidia-smi`, with how far they may be apart.

/// What the two figures must be to each other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expectation {
    /// Apart by this much at most.
    Within(f64),
    /// The agent's is the larger, or less by this much at most.
    AtLeast(f64),
    /// The agent has one; there is nothing to compare it with.
    Present,
}

/// How figures are printed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    /// Bytes, printed in MiB.
    Bytes,
    /// A share from 0 to 1.
    Ratio,
    Seconds,
    Count,
}

impl Unit {
    fn text(self, value: f64) -> String {
        match self {
            Self::Bytes => format!("{:.1} MiB", value / f64::from(1 << 20)),
            Self::Ratio => format!("{value:.3}"),
            Self::Seconds => format!("{value:.2} s"),
            Self::Count => format!("{value:.0}"),
        }
    }
}

/// A line of the report.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// A session, or the GPU.
    pub(super) subject: String,
    pub(super) figure: &'static str,
    pub(super) agent: Option<f64>,
    pub(super) reference: Option<f64>,
    pub(super) unit: Unit,
    pub(super) expectation: Expectation,
}

/// What a line shows for a figure that is not there.
const ABSENT: &str = "absent";

impl Line {
    /// Whether both figures are there and as they must be to each other.
    pub(super) fn passes(&self) -> bool {
        match (self.expectation, self.agent, self.reference) {
            (Expectation::Present, agent, _) => agent.is_some(),
            (Expectation::Within(most), Some(agent), Some(reference)) => {
                (agent - reference).abs() <= most
            }
            (Expectation::AtLeast(slack), Some(agent), Some(reference)) => {
                agent >= reference - slack
            }
            (_, _, _) => false,
        }
    }

    /// The cells of a table with the headings [`HEADINGS`].
    pub(super) fn cells(&self) -> Vec<String> {
        let text = |value: Option<f64>| value.map_or(ABSENT.to_owned(), |one| self.unit.text(one));
        let (reference, expectation) = match self.expectation {
            Expectation::Within(most) => (
                text(self.reference),
                format!("within {}", self.unit.text(most)),
            ),
            Expectation::AtLeast(slack) => {
                let slack = self.unit.text(slack);
                (text(self.reference), format!("at least, less {slack}"))
            }
            Expectation::Present => ("–".to_owned(), "present".to_owned()),
        };
        let verdict = if self.passes() { "pass" } else { "**fail**" };
        vec![
            self.subject.clone(),
            self.figure.to_owned(),
            text(self.agent),
            reference,
            expectation,
            verdict.to_owned(),
        ]
    }
}

/// The headings over the cells of lines.
pub(super) const HEADINGS: [&str; 6] = [
    "of",
    "figure",
    "agent",
    "compared with",
    "expected",
    "verdict",
];

#[cfg(test)]
mod tests {
    use super::{Expectation, Line, Unit};

    fn line(agent: Option<f64>, reference: Option<f64>, expectation: Expectation) -> Line {
        Line {
            subject: "busy".into(),
            figure: "memory",
            agent,
            reference,
            unit: Unit::Bytes,
            expectation,
        }
    }

    #[test]
    fn figures_may_be_apart_by_the_tolerance_either_way() {
        for (agent, passes) in [(8.0, true), (12.0, true), (7.0, false), (13.0, false)] {
            let line = line(Some(agent), Some(10.0), Expectation::Within(2.0));
            assert_eq!(line.passes(), passes, "{agent}");
        }
    }

    #[test]
    fn the_larger_may_be_larger_by_any_amount() {
        for (agent, passes) in [(8.0, true), (99.0, true), (7.0, false)] {
            let line = line(Some(agent), Some(10.0), Expectation::AtLeast(2.0));
            assert_eq!(line.passes(), passes, "{agent}");
        }
    }

    #[test]
    fn what_is_absent_fails_and_is_said() {
        for (agent, reference) in [(None, Some(1.0)), (Some(1.0), None), (None, None)] {
            assert!(!line(agent, reference, Expectation::Within(9.0)).passes());
        }
        assert!(!line(None, None, Expectation::Present).passes());
        assert!(line(Some(1.0), None, Expectation::Present).passes());
        let cells = line(None, Some(1_048_576.0), Expectation::Within(2_097_152.0)).cells();
        let expected = [
            "busy",
            "memory",
            "absent",
            "1.0 MiB",
            "within 2.0 MiB",
            "**fail**",
        ];
        assert_eq!(cells, expected);
    }
}
