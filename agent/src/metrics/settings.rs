//! What can be set of the exposition.

use crate::named::named;
use crate::setting::{Field, Key, Table, form};

/// The exposition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How many classic buckets the histograms of sessions have.
    pub classic_buckets: ClassicBuckets,
    /// The most series of an exposition.
    pub max_series: u32,
    /// The most different templates, each with its namespace, that labels tell apart.
    pub max_templates: u32,
}

named! {
    /// How many classic buckets the histograms of sessions have. Native histograms have all of them always.
    pub enum ClassicBuckets {
        /// Those at the bounds that matter to each family.
        Few = "few",
        /// These, and one at each power of four.
        Full = "full",
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            classic_buckets: ClassicBuckets::Few,
            max_series: 50_000,
            max_templates: 200,
        }
    }
}

/// The table `metrics`.
pub const TABLE: Table<Settings> = Table {
    name: "metrics",
    about: "How large the exposition may be.",
    keys: &[
        Key {
            name: "classic_buckets",
            flag: None,
            doc: "Classic buckets of the sessions' histograms: few, at the bounds that matter to each, or full, these and one at each power of four. Native histograms have all of them always.",
            field: Field::Text {
                form: "`few` or `full`",
                get: |settings| Some(settings.classic_buckets.name().to_owned()),
                set: |settings, text| {
                    settings.classic_buckets = form::choose(text)?;
                    Ok(())
                },
            },
        },
        Key {
            name: "max_series",
            flag: None,
            doc: "The most series of an exposition, counted in classic buckets. Beyond it optional families are left out, then the details of idle and young sessions; vdi_agent_series_dropped_total says which.",
            field: Field::Integer {
                range: 1_000..=10_000_000,
                get: |settings| settings.max_series,
                set: |settings, value| settings.max_series = value,
            },
        },
        Key {
            name: "max_templates",
            flag: None,
            doc: "The most different templates, each with its namespace, that the labels tell apart. Sessions of further ones are of the template overflow.",
            field: Field::Integer {
                range: 1..=10_000,
                get: |settings| settings.max_templates,
                set: |settings, value| settings.max_templates = value,
            },
        },
    ],
};
