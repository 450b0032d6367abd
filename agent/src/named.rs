//! Enumerations whose members have names: what a label or a setting may be, written once.

/// A type whose values have names.
pub trait Named: Copy + 'static {
    /// The names of all values, in order.
    const NAMES: &'static [&'static str];

    /// The name of this one.
    fn name(self) -> &'static str;

    /// The one of a name.
    fn named(name: &str) -> Option<Self>;
}

/// Declares an enumeration with the name of each member: `Completed = "completed"`.
macro_rules! named {
    (
        $(#[$meta:meta])*
        $vis:vis enum $Type:ident {
            $($(#[$about:meta])* $Member:ident = $name:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $Type {
            $($(#[$about])* $Member,)+
        }

        impl $Type {
            /// Every value, in order.
            $vis const ALL: [Self; [$($name),+].len()] = [$(Self::$Member),+];

            /// Its name.
            $vis const fn name(self) -> &'static str {
                match self {
                    $(Self::$Member => $name,)+
                }
            }
        }

        impl $crate::named::Named for $Type {
            const NAMES: &'static [&'static str] = &{
                let mut names = [""; Self::ALL.len()];
                let mut at = 0;
                while at < names.len() {
                    names[at] = Self::ALL[at].name();
                    at += 1;
                }
                names
            };

            fn name(self) -> &'static str {
                self.name()
            }

            fn named(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|one| one.name() == name)
            }
        }
    };
}
pub(crate) use named;

#[cfg(test)]
mod tests {
    use super::Named;

    named! {
        /// Of this test.
        enum Size {
            /// Not large.
            Small = "small",
            /// Not small.
            Large = "large",
        }
    }

    #[test]
    fn names_are_in_the_order_of_the_values() {
        assert_eq!(Size::ALL.map(Size::name), ["small", "large"]);
        assert_eq!(Size::NAMES, ["small", "large"]);
        assert_eq!(Named::name(Size::Large), "large");
        assert_eq!(Size::named("large"), Some(Size::Large));
        assert_eq!(Size::named("Large"), None);
    }
}
