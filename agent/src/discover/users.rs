//! What is told of who uses a session: nothing, a keyed hash, or the name.

pub mod settings;

use std::{fmt, fmt::Write as _, path::Path};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

pub use self::settings::{Settings, UserPolicy};
use crate::{error::Error, setting::regular};

/// The least length of a key, bytes: names are few, so only the key keeps a hash from being guessed.
const LEAST: usize = 16;
/// Bytes of a hash that are shown: among a million users two with the same are improbable (3 in 10^8).
const SHOWN: usize = 8;

/// The policy with its key.
#[derive(Clone)]
pub enum Users {
    /// Nothing is told.
    Off,
    /// 16 hexadecimal digits of HMAC-SHA-256.
    Hashed(Vec<u8>),
    /// The name.
    Plain,
}

/// Without the key.
impl fmt::Debug for Users {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Off => "Off",
            Self::Hashed(_) => "Hashed",
            Self::Plain => "Plain",
        })
    }
}

impl Users {
    /// The policy of the configuration; reads the key.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        match (settings.policy, &settings.key) {
            (UserPolicy::Off, _) => Ok(Self::Off),
            (UserPolicy::Plain, _) => Ok(Self::Plain),
            (UserPolicy::Hashed, Some(path)) => Ok(Self::Hashed(key(path)?)),
            (UserPolicy::Hashed, None) => Err(settings::no_key().into()),
        }
    }

    /// What is told of a user.
    pub fn shown(&self, name: &str) -> Option<String> {
        match self {
            Self::Off => None,
            Self::Plain => Some(name.to_owned()),
            Self::Hashed(key) => {
                let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
                mac.update(name.as_bytes());
                let digest = mac.finalize().into_bytes();
                let mut text = String::with_capacity(2 * SHOWN);
                for byte in &digest[..SHOWN] {
                    // Writing to a string cannot fail.
                    let _ = write!(text, "{byte:02x}");
                }
                Some(text)
            }
        }
    }
}

fn key(path: &Path) -> Result<Vec<u8>, Error> {
    let context = format!("sessions.user_key {}", path.display());
    let key = regular::read(path).map_err(Error::io(context.clone()))?;
    if key.len() < LEAST {
        let have = key.len();
        return Err(Error::Other(format!(
            "{context}: {have} bytes are too few, a name could be guessed; write {LEAST} random ones or more \
             (head -c 32 /dev/urandom)"
        )));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_tells_users_apart_and_depends_on_the_key() {
        let users = Users::Hashed(b"0123456789abcdef".to_vec());
        let ada = users.shown("ada").unwrap();
        // printf ada | openssl dgst -sha256 -hmac 0123456789abcdef
        assert_eq!(ada, "83eeb38e004a2953");
        assert_ne!(users.shown("bob"), Some(ada.clone()));
        let other = Users::Hashed(b"fedcba9876543210".to_vec());
        assert_ne!(other.shown("ada"), Some(ada));
        assert_eq!(Users::Off.shown("ada"), None);
        assert_eq!(Users::Plain.shown("ada").as_deref(), Some("ada"));
    }

    #[test]
    fn a_short_key_is_refused_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "short").unwrap();
        let error = key(&path).unwrap_err().to_string();
        assert!(error.contains("/key: 5 bytes are too few"), "{error}");
        assert!(key(&folder.path().join("none")).is_err());
    }
}
