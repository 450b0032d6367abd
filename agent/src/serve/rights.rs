//! Who may connect to the agent's sockets in the file system: who may write to their files, which have an owner, a group
//! and a mode.

use std::{fmt, path::Path};

use crate::setting::{ConfigError, regular};

const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// Whose a socket is, and who may write to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The owner; the agent's own user and group where it names none.
    pub owner: Owner,
    /// The permissions, as chmod(1) has them.
    pub mode: u32,
}

impl Default for Rights {
    fn default() -> Self {
        Self {
            owner: Owner::default(),
            mode: 0o660,
        }
    }
}

/// A user, a group, or both, each by its name or its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    user: Option<String>,
    group: Option<String>,
}

impl Owner {
    /// Reads what chown(1) takes: `user`, `user:group` or `:group`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("expected user, user:group or :group, by name or number, found \"{text}\"");
        let named = |name: &str| is_name(name).then(|| name.to_owned()).ok_or_else(wrong);
        Ok(match text.split_once(':') {
            None => Self {
                user: Some(named(text)?),
                group: None,
            },
            Some(("", group)) => Self {
                user: None,
                group: Some(named(group)?),
            },
            Some((user, group)) => Self {
                user: Some(named(user)?),
                group: Some(named(group)?),
            },
        })
    }

    /// As it is written; `None` where it names neither.
    pub fn text(&self) -> Option<String> {
        match (&self.user, &self.group) {
            (None, None) => None,
            _ => Some(self.to_string()),
        }
    }

    /// The numbers of user and group, of which names are looked for in the files of this machine.
    pub(super) fn ids(&self) -> Result<(Option<u32>, Option<u32>), ConfigError> {
        let user = self.user.as_deref().map(|name| id(USERS, "user", name));
        let group = self.group.as_deref().map(|name| id(GROUPS, "group", name));
        Ok((user.transpose()?, group.transpose()?))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.user.as_deref().unwrap_or_default())?;
        match &self.group {
            Some(group) => write!(formatter, ":{group}"),
            None => Ok(()),
        }
    }
}

fn is_name(text: &str) -> bool {
    let is_part = |letter: char| !letter.is_whitespace() && !letter.is_control();
    // chown(2) takes the largest number for "as it is".
    let is_as_it_is = text.parse::<u32>() == Ok(u32::MAX);
    !text.is_empty() && !text.contains([':', '/']) && text.chars().all(is_part) && !is_as_it_is
}

fn id(table: &str, kind: &str, name: &str) -> Result<u32, ConfigError> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let path = Path::new(table);
    let text = regular::text(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    id_in(&text, name).ok_or_else(|| ConfigError::Contents {
        path: path.to_owned(),
        reason: format!(
            "there is no {kind} \"{name}\", which socket.owner names; name one that is there, or write its number"
        ),
    })
}

/// The third field of the line of a name (passwd(5), group(5)).
fn id_in(table: &str, name: &str) -> Option<u32> {
    let mut lines = table
        .lines()
        .map(|line| line.split(':').collect::<Vec<&str>>());
    let fields = lines.find(|fields| fields.first() == Some(&name))?;
    fields.get(2)?.parse().ok()
}

/// Reads permissions in octal digits.
pub(super) fn parse_mode(text: &str) -> Result<u32, String> {
    // `from_str_radix` takes a sign, too.
    let is_octal = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok();
    mode.filter(|mode| is_octal && *mode <= 0o777)
        .ok_or_else(|| {
            format!("expected octal permissions such as \"0660\", 0777 at most, found \"{text}\"")
        })
}

/// Permissions as [`parse_mode`] reads them.
pub(super) fn mode_text(mode: u32) -> String {
    format!("{mode:04o}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_written_as_it_was_read() {
        for text in ["ada", "ada:staff", ":staff", "0", "1000:100", ":4"] {
            let owner = Owner::parse(text).unwrap();
            assert_eq!(owner.text().as_deref(), Some(text));
        }
        assert_eq!(Owner::default().text(), None);
    }

    #[test]
    fn what_is_no_owner_is_refused() {
        for wrong in [
            "",
            ":",
            "ada:",
            "a b",
            "ada:x:y",
            "/ada",
            "4294967295",
            ":4294967295",
            "a\n",
        ] {
            let error = Owner::parse(wrong).unwrap_err();
            assert!(error.contains("user:group"), "{error}");
        }
    }

    #[test]
    fn names_are_found_in_the_tables_and_numbers_need_none() {
        let table = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:100::/home/ada:/bin/sh\nold\n";
        assert_eq!(id_in(table, "ada"), Some(1000));
        assert_eq!(id_in(table, "x"), None);
        assert_eq!(id_in(table, "old"), None);
        let ids = |text| Owner::parse(text).unwrap().ids();
        assert_eq!(ids("7:8").unwrap(), (Some(7), Some(8)));
        assert_eq!(ids(":8").unwrap(), (None, Some(8)));
        assert_eq!(ids("root").unwrap(), (Some(0), None));
        let error = ids(":no-such-group-here").unwrap_err().to_string();
        assert!(
            error.starts_with("/etc/group: there is no group \"no-such-group-here\""),
            "{error}"
        );
    }

    #[test]
    fn a_mode_is_octal_and_has_no_more_than_permissions() {
        for (text, mode) in [("0660", 0o660), ("600", 0o600), ("0777", 0o777), ("0", 0)] {
            assert_eq!(parse_mode(text), Ok(mode));
        }
        assert_eq!(mode_text(0o60), "0060");
        for wrong in ["", "0888", "1777", "+660", "rw", "0o660", "99999999999"] {
            let error = parse_mode(wrong).unwrap_err();
            assert!(error.contains("octal"), "{error}");
        }
    }
}
