//! What can be known of labels, and how it changes.

use std::collections::BTreeSet;

/// Names of labels.
pub(crate) type Names = BTreeSet<String>;

/// Labels that may be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum May {
    /// These alone.
    Only(Names),
    /// Any but these: series of others, of which no catalogue is known.
    AnyBut(Names),
}

/// What is known of the labels of an expression's series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) may: May,
    /// Those of each series. None is of a series that cannot have it.
    pub(crate) surely: Names,
}

impl May {
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::Only(names) => names.contains(name),
            Self::AnyBut(names) => !names.contains(name),
        }
    }

    pub(crate) fn set(&mut self, name: &str, there: bool) {
        let (names, is_listed) = match self {
            Self::Only(names) => (names, there),
            Self::AnyBut(names) => (names, !there),
        };
        if is_listed {
            names.insert(name.to_owned());
        } else {
            names.remove(name);
        }
    }

    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Only(one), Self::Only(other)) => Self::Only(&one | &other),
            (Self::AnyBut(one), Self::AnyBut(other)) => Self::AnyBut(&one & &other),
            (Self::Only(these), Self::AnyBut(not)) | (Self::AnyBut(not), Self::Only(these)) => {
                Self::AnyBut(&not - &these)
            }
        }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Only(one), Self::Only(other)) => Self::Only(&one & &other),
            (Self::AnyBut(one), Self::AnyBut(other)) => Self::AnyBut(&one | &other),
            (Self::Only(these), Self::AnyBut(not)) | (Self::AnyBut(not), Self::Only(these)) => {
                Self::Only(&these - &not)
            }
        }
    }
}

impl Known {
    /// No label at all, as of `vector(1)`.
    pub(crate) fn none() -> Self {
        Self {
            may: May::Only(Names::new()),
            surely: Names::new(),
        }
    }

    /// Series of others.
    pub(crate) fn open() -> Self {
        Self {
            may: May::AnyBut(Names::new()),
            surely: Names::new(),
        }
    }

    pub(crate) fn add(&mut self, name: &str) {
        self.may.set(name, true);
        self.surely.insert(name.to_owned());
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.may.set(name, false);
        self.surely.remove(name);
    }

    /// Of these labels those that may be there, as `by` and `on` leave them.
    pub(crate) fn keep(&mut self, names: &[String]) {
        let kept = names.iter().filter(|name| self.may.has(name)).cloned();
        self.may = May::Only(kept.collect());
        self.surely.retain(|name| names.contains(name));
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            may: self.may.or(other.may),
            surely: &self.surely & &other.surely,
        }
    }
}
