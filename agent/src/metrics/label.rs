//! Labels of families. A label's name and what its values may be are written once; a sample is made with them, so a name
//! or a value that is wrong does not compile, and where a `match` makes the value of a sample, nor does one that is
//! forgotten.

use std::marker::PhantomData;

use crate::named::Named;

/// A label with a value. The scope's labels are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'v> {
    name: &'static str,
    value: &'v str,
}

impl<'v> Pair<'v> {
    /// Name and value.
    pub(super) fn parts(self) -> (&'static str, &'v str) {
        (self.name, self.value)
    }
}

/// A label as a family documents it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Every value that it may have; `None` for any text.
    pub values: Option<&'static [&'static str]>,
    /// What the value is, or more of the values.
    pub about: &'static str,
}

impl Label {
    /// What a reader is told of its values.
    pub fn description(&self) -> String {
        match (self.values, self.about) {
            (None, about) => about.to_owned(),
            (Some(values), "") => values.join(", "),
            (Some(values), about) => format!("{}; {about}", values.join(", ")),
        }
    }
}

/// A label that may be any text.
#[derive(Clone, Copy, Debug)]
pub struct Text(Label);

impl Text {
    /// Its name, and what its value is.
    pub const fn new(name: &'static str, about: &'static str) -> Self {
        Self(Label {
            name,
            values: None,
            about,
        })
    }

    /// As a family documents it.
    pub const fn label(&self) -> Label {
        self.0
    }

    /// With a value.
    pub fn is<'v>(&self, value: &'v str) -> Pair<'v> {
        let name = self.0.name;
        Pair { name, value }
    }
}

/// A label whose values are those of a type.
#[derive(Debug)]
pub struct OneOf<T> {
    label: Label,
    values: PhantomData<T>,
}

impl<T: Named> OneOf<T> {
    /// Its name.
    pub const fn new(name: &'static str) -> Self {
        Self {
            label: Label {
                name,
                values: Some(T::NAMES),
                about: "",
            },
            values: PhantomData,
        }
    }

    /// With more of its values, for people.
    #[must_use]
    pub const fn about(mut self, about: &'static str) -> Self {
        self.label.about = about;
        self
    }

    /// As a family documents it.
    pub const fn label(&self) -> Label {
        self.label
    }

    /// With a value.
    pub fn is(&self, value: T) -> Pair<'static> {
        let name = self.label.name;
        let value = value.name();
        Pair { name, value }
    }

    /// With a value, or with the empty text, which is as if it had no such label.
    pub fn is_or_empty(&self, value: Option<T>) -> Pair<'static> {
        let name = self.label.name;
        let value = value.map(T::name).unwrap_or_default();
        Pair { name, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::named::named;

    named! {
        /// Of this test.
        enum Size {
            Small = "small",
            Large = "large",
        }
    }

    const SIZE: OneOf<Size> = OneOf::new("size");
    const OWNER: Text = Text::new("owner", "whose it is");

    #[test]
    fn the_reference_says_what_a_value_may_be() {
        assert_eq!(SIZE.label().description(), "small, large");
        let noted = SIZE.about("in stock").label();
        assert_eq!(noted.description(), "small, large; in stock");
        assert_eq!(OWNER.label().description(), "whose it is");
    }

    #[test]
    fn a_pair_has_the_labels_name() {
        assert_eq!(SIZE.is(Size::Large).parts(), ("size", "large"));
        assert_eq!(SIZE.is_or_empty(None).parts(), ("size", ""));
        assert_eq!(OWNER.is("ada").parts(), ("owner", "ada"));
    }
}
