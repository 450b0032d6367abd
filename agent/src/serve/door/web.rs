//! The web configuration file, in the format of Prometheus's exporters (exporter-toolkit, docs/web-configuration.md).
//!
//! A key that the format does not have is an error, and so is a value that has a meaning there and cannot have it here:
//! what is asked for and not done would be a door that is believed to be shut.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr as _,
    time::Duration,
};

use axum::http::{HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer, de::Error as _};

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Web {
    /// TLS; without it, plain HTTP.
    pub(super) tls_server_config: Tls,
    /// What goes with every answer.
    http_server_config: Http,
    /// How often may be asked.
    rate_limit: RateLimit,
    /// bcrypt hashes of passwords by user.
    #[serde(deserialize_with = "users")]
    pub(super) basic_auth_users: BTreeMap<String, String>,
}

/// TLS. Paths are relative to the file's folder.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) cert: Option<String>,
    pub(super) key: Option<String>,
    pub(super) client_ca: Option<String>,
    pub(super) cert_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) client_auth_type: Option<ClientAuth>,
    pub(super) client_ca_file: Option<PathBuf>,
    pub(super) client_allowed_sans: Option<Vec<String>>,
    pub(super) min_version: Option<String>,
    pub(super) max_version: Option<String>,
    pub(super) cipher_suites: Vec<String>,
    pub(super) prefer_server_cipher_suites: Option<bool>,
    pub(super) curve_preferences: Vec<String>,
}

/// What is wanted of clients' certificates, as Go's crypto/tls names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) enum ClientAuth {
    #[default]
    #[serde(alias = "")]
    NoClientCert,
    RequestClientCert,
    // The other name is of old versions.
    #[serde(alias = "RequireClientCert")]
    RequireAnyClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Http {
    /// Spoken by the exporters of the toolkit; here HTTP/1.1 is, whatever it says.
    #[serde(rename = "http2")]
    _http2: Option<bool>,
    headers: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RateLimit {
    burst: Option<u32>,
    interval: Option<String>,
}

/// Without anything behind the key nobody would be asked.
fn users<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let users = Option::<BTreeMap<String, String>>::deserialize(from)?;
    users.ok_or_else(|| D::Error::custom("basic_auth_users: expected users, found nothing"))
}

/// What a parser says, without the texts that it has found: one may be a password.
fn without_texts(message: &str) -> String {
    let mut parts = message.split('"');
    let mut said = parts.next().unwrap_or_default().to_owned();
    // Every other part is between quotation marks.
    while let (Some(_), after) = (parts.next(), parts.next()) {
        said.push_str("\"…\"");
        said.push_str(after.unwrap_or_default());
    }
    said
}

/// Of bcrypt.
const COSTS: RangeInclusive<u32> = 4..=31;
/// The longest interval of a rate, and the largest number at once.
const MOST: (Duration, u32) = (Duration::from_hours(24 * 365), 1_000_000);

/// Headers that may be set, with the values that may be.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

impl Web {
    /// Reads it; an error says which key is wrong, and where.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        // An empty file is an empty table.
        let web: Option<Self> =
            serde_yaml_ng::from_str(text).map_err(|error| without_texts(&error.to_string()))?;
        let web = web.unwrap_or_default();
        for (user, hash) in &web.basic_auth_users {
            let parts = bcrypt::HashParts::from_str(hash).ok();
            if !parts.is_some_and(|parts| COSTS.contains(&parts.get_cost())) {
                return Err(format!(
                    "basic_auth_users: \"{user}\": not a bcrypt hash (htpasswd -nBC 10 \"\" | tr -d ':\\n')"
                ));
            }
        }
        web.headers()?;
        web.rate_limit()?;
        Ok(web)
    }

    /// What goes with every answer.
    pub(super) fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        let headers = self.http_server_config.headers.iter();
        headers
            .map(|(name, value)| {
                let key = format!("http_server_config: headers: {name}");
                let known = HEADERS.iter().find(|(known, _)| known == name);
                let Some((_, values)) = known else {
                    let names = HEADERS.map(|(name, _)| name).join(", ");
                    return Err(format!("{key}: expected one of {names}"));
                };
                if !values.is_empty() && !values.contains(&value.as_str()) {
                    return Err(format!(
                        "{key}: expected {}, found \"{value}\"",
                        values.join(" or ")
                    ));
                }
                let header = HeaderName::from_bytes(name.as_bytes());
                let value = HeaderValue::from_str(value);
                let both = header.ok().zip(value.ok());
                both.ok_or_else(|| format!("{key}: the value is not one of a header"))
            })
            .collect()
    }

    /// Requests that may come at once, and the time in which there may be one more; `None` for as many as come.
    pub(super) fn rate_limit(&self) -> Result<Option<(u32, Duration)>, String> {
        let Some(interval) = &self.rate_limit.interval else {
            return Ok(None);
        };
        // Go writes 1h30m, 1.5s, 100ms.
        let interval = if interval == "0" {
            Duration::ZERO
        } else {
            humantime::parse_duration(interval).map_err(|_| {
                format!(
                    "rate_limit: interval: expected a duration such as \"1s\", found \"{interval}\""
                )
            })?
        };
        let burst = self.rate_limit.burst.unwrap_or(0);
        if interval.is_zero() {
            return Ok(None);
        }
        if burst == 0 {
            return Err(
                "rate_limit: burst: expected 1 or more: with 0 nothing is answered".to_owned(),
            );
        }
        if interval > MOST.0 || burst > MOST.1 {
            return Err(
                "rate_limit: expected an interval of a year at most, and a burst of a million"
                    .to_owned(),
            );
        }
        Ok(Some((burst, interval)))
    }
}

impl Tls {
    /// Whether TLS is wanted: whatever is said of it.
    pub(super) fn is_wanted(&self) -> bool {
        let Self {
            cert,
            key,
            client_ca,
            cert_file,
            key_file,
            client_auth_type,
            client_ca_file,
            client_allowed_sans,
            min_version,
            max_version,
            cipher_suites,
            prefer_server_cipher_suites,
            curve_preferences,
        } = self;
        let texts = [cert, key, client_ca, min_version, max_version];
        let files = [cert_file, key_file, client_ca_file];
        texts.into_iter().any(Option::is_some)
            || files.into_iter().any(Option::is_some)
            || client_auth_type.is_some()
            || client_allowed_sans.is_some()
            || prefer_server_cipher_suites.is_some()
            || !cipher_suites.is_empty()
            || !curve_preferences.is_empty()
    }

    /// Makes its paths absolute.
    pub(super) fn locate(&mut self, folder: &Path) {
        let files = [
            &mut self.cert_file,
            &mut self.key_file,
            &mut self.client_ca_file,
        ];
        for file in files.into_iter().flatten() {
            *file = folder.join(&*file);
        }
    }

    /// The files that it names.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let files = [&self.cert_file, &self.key_file, &self.client_ca_file];
        files.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Web::parse(text).map(|_| ()).unwrap_err()
    }

    const HASH: &str = "$2y$04$Rq4xkpZOKO1IBWLGP9cJyehWTH5HcmVbKq8Bk5QsVVW.4.3ZG0c8S";

    #[test]
    fn an_empty_file_shuts_nothing() {
        for text in ["", "# nothing\n", "{}\n"] {
            let web = Web::parse(text).unwrap();
            assert!(!web.tls_server_config.is_wanted());
            assert!(web.basic_auth_users.is_empty());
            assert_eq!(web.rate_limit().unwrap(), None);
        }
    }

    #[test]
    fn whatever_is_said_of_tls_wants_it() {
        for line in [
            "client_allowed_sans: [a]",
            "min_version: TLS13",
            "curve_preferences: [X25519]",
        ] {
            let web = Web::parse(&format!("tls_server_config:\n  {line}\n")).unwrap();
            assert!(web.tls_server_config.is_wanted(), "{line}");
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place() {
        let error = refused("tls_server_config:\n  certfile: a.pem\n");
        assert!(error.contains("unknown field `certfile`"), "{error}");
        assert!(error.contains("line 2"), "{error}");
        assert!(refused("basic_auth:\n  a: b\n").contains("unknown field `basic_auth`"));
        let error = refused("tls_server_config:\n  client_auth_type: Always\n");
        assert!(error.contains("unknown variant `Always`"), "{error}");
    }

    #[test]
    fn a_password_that_is_no_hash_is_refused_and_not_shown() {
        let error = refused("basic_auth_users:\n  ada: secret\n");
        assert!(error.contains("\"ada\""), "{error}");
        assert!(!error.contains("secret"), "{error}");
        Web::parse(&format!("basic_auth_users:\n  ada: {HASH}\n")).unwrap();
        let hard = HASH.replace("$04$", "$99$");
        assert!(
            refused(&format!("basic_auth_users:\n  ada: {hard}\n")).contains("not a bcrypt hash")
        );
        // Nor where it stands in the wrong place.
        let error = refused("basic_auth_users: \"ada:secret\"\n");
        assert!(
            error.contains("expected a map") && !error.contains("secret"),
            "{error}"
        );
        assert!(refused("basic_auth_users:\n").contains("found nothing"));
        Web::parse("basic_auth_users: {}\n").unwrap();
    }

    #[test]
    fn headers_are_those_of_the_format_with_its_values() {
        let with = |line: &str| format!("http_server_config:\n  headers:\n    {line}\n");
        let web = Web::parse(&with("X-Frame-Options: deny")).unwrap();
        assert_eq!(web.headers().unwrap().len(), 1);
        assert!(refused(&with("X-Frame-Options: allow")).contains("expected deny or sameorigin"));
        assert!(refused(&with("Server: x")).contains("expected one of Strict"));
        assert!(refused(&with("X-XSS-Protection: \"a\\nb\"")).contains("not one of a header"));
    }

    #[test]
    fn a_rate_limit_has_both_its_numbers() {
        let limit = |text: &str| Web::parse(text).map(|web| web.rate_limit().unwrap());
        let one = limit("rate_limit:\n  interval: 1s\n  burst: 20\n");
        assert_eq!(one, Ok(Some((20, Duration::from_secs(1)))));
        assert_eq!(limit("rate_limit:\n  interval: \"0\"\n"), Ok(None));
        assert!(
            limit("rate_limit:\n  interval: 1s\n")
                .unwrap_err()
                .contains("burst")
        );
        assert!(
            limit("rate_limit:\n  interval: soon\n")
                .unwrap_err()
                .contains("interval")
        );
    }

    #[test]
    fn paths_are_relative_to_the_folder_of_the_file() {
        let mut web =
            Web::parse("tls_server_config:\n  cert_file: a.pem\n  key_file: /b.pem\n").unwrap();
        web.tls_server_config.locate(Path::new("/etc/x"));
        let files: Vec<_> = web.tls_server_config.files().collect();
        assert_eq!(files, [Path::new("/etc/x/a.pem"), Path::new("/b.pem")]);
    }
}
