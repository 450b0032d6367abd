//! Units, thresholds, colours, words and labels: what panels may say.

/// Unit of a panel's values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Count,
    /// 0 to 1, shown as percent.
    Ratio,
    PerSecond,
    Packets,
    Seconds,
    /// A long time, in days and hours.
    Age,
    /// Seconds since the epoch times 1,000, shown as how long ago.
    Ago,
    Bytes,
    BytesPerSecond,
    FramesPerSecond,
    Pixels,
    Celsius,
    Watts,
    /// 0 or 1, for which there are words.
    State,
    /// No number at all.
    Text,
}

impl Unit {
    /// As Grafana calls it.
    pub(crate) const fn id(self) -> &'static str {
        match self {
            Self::Count => "short",
            Self::Ratio => "percentunit",
            Self::PerSecond => "cps",
            Self::Packets => "pps",
            Self::Seconds => "s",
            Self::Age => "dtdurations",
            Self::Ago => "dateTimeFromNow",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "binBps",
            // Grafana has none of its own, and puts a blank before it.
            Self::FramesPerSecond => "suffix:fps",
            Self::Pixels => "suffix:px",
            Self::Celsius => "celsius",
            Self::Watts => "watt",
            Self::State => "none",
            Self::Text => "string",
        }
    }
}

/// From which values on something is to be looked at, and is bad. Without any a value has one colour, whatever it is.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Thresholds {
    Plain,
    /// The more, the worse: to be looked at, bad.
    Above(f64, f64),
    /// The less, the worse: to be looked at, bad.
    Below(f64, f64),
    /// One is bad, and every other besides.
    Any,
}

/// Colours that those who do not see red and green tell apart, by hue and by lightness.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Good,
    Look,
    Bad,
}

impl Colour {
    /// As Grafana calls it.
    pub(crate) const fn id(self) -> &'static str {
        match self {
            Self::Good => "blue",
            Self::Look => "orange",
            Self::Bad => "dark-red",
        }
    }
}

impl Thresholds {
    /// Colours, each from a value on.
    pub(crate) fn steps(self) -> Vec<(Colour, Option<f64>)> {
        match self {
            Self::Plain => vec![(Colour::Good, None)],
            Self::Above(look, bad) => vec![
                (Colour::Good, None),
                (Colour::Look, Some(look)),
                (Colour::Bad, Some(bad)),
            ],
            Self::Below(look, bad) => vec![
                (Colour::Bad, None),
                (Colour::Look, Some(bad)),
                (Colour::Good, Some(look)),
            ],
            Self::Any => vec![(Colour::Good, None), (Colour::Bad, Some(1.0))],
        }
    }
}

/// A word for a value.
#[derive(Clone, Copy)]
pub(crate) struct Word {
    pub(crate) value: &'static str,
    pub(crate) text: &'static str,
    pub(crate) colour: Colour,
}

const fn word(value: &'static str, text: &'static str, colour: Colour) -> Word {
    Word {
        value,
        text,
        colour,
    }
}

/// Of what answers, or does not.
pub(crate) const ANSWERS: &[Word] = &[
    word("0", "no answer", Colour::Bad),
    word("1", "answers", Colour::Good),
];
/// Of what holds something down, or does not.
pub(crate) const HELD: &[Word] = &[
    word("0", "free", Colour::Good),
    word("1", "held down", Colour::Look),
];

/// A label that tables show as a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Label {
    Alert,
    Severity,
    Namespace,
    Template,
    Node,
    Session,
    Gpu,
    Source,
    Probe,
    Code,
    Version,
    Kernel,
    TaskState,
    Xid,
    Action,
    Product,
    Driver,
    Mig,
    Uuid,
    Pod,
    Runtime,
    User,
    Cgroup,
    Stage,
    File,
    Hash,
}

impl Label {
    /// Of a column that is cut off with its even share of the table, pixels.
    pub(crate) const fn width(self) -> Option<u32> {
        match self {
            Self::Severity => Some(90),
            Self::Alert => Some(280),
            Self::Uuid => Some(330),
            _ => None,
        }
    }

    /// Its name in Prometheus, and the title of its column.
    pub(crate) const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Alert => ("alertname", "Alert"),
            Self::Severity => ("severity", "Severity"),
            Self::Namespace => ("namespace", "Namespace"),
            Self::Template => ("template", "Template"),
            Self::Node => ("instance", "Node"),
            Self::Session => ("session", "Session"),
            Self::Gpu => ("gpu", "GPU"),
            Self::Source => ("source", "Source"),
            Self::Probe => ("probe", "Program"),
            Self::Code => ("code", "Code"),
            Self::Version => ("version", "Version"),
            Self::Kernel => ("kernel", "Kernel"),
            Self::TaskState => ("task_state", "State of threads"),
            Self::Xid => ("xid", "Xid"),
            Self::Action => ("action", "Wanted"),
            Self::Product => ("name", "Product"),
            Self::Driver => ("driver_version", "Driver"),
            Self::Mig => ("mig", "MIG"),
            Self::Uuid => ("uuid", "UUID"),
            Self::Pod => ("pod", "Pod"),
            Self::Runtime => ("runtime", "Runtime"),
            Self::User => ("user", "User"),
            Self::Cgroup => ("cgroup", "Cgroup"),
            Self::Stage => ("stage", "Waits for"),
            Self::File => ("file", "File"),
            Self::Hash => ("hash", "Configuration"),
        }
    }
}
