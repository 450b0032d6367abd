//! Bearer tokens from a file: one in each line, `#` begins a comment.

use sha2::{Digest as _, Sha256};

/// The least length of a token, bytes: whoever reaches the port may guess.
const LEAST: usize = 16;

/// Digests of tokens: compared, they tell nothing of a token by the time that it takes.
#[derive(Debug, Default)]
pub(super) struct Tokens(Vec<[u8; 32]>);

impl Tokens {
    /// Those of a file's text; an error says which line is wrong, and not what is in it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let token = line.trim();
            if token.is_empty() || token.starts_with('#') {
                continue;
            }
            if token.len() < LEAST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(format!(
                    "line {}: expected a token of {LEAST} characters or more without blanks \
                     (head -c 32 /dev/urandom | base64)",
                    number + 1
                ));
            }
            tokens.push(digest(token));
        }
        Ok(Self(tokens))
    }

    /// Whether there are none, so that nobody is let in.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is one of them.
    pub(super) fn has(&self, token: &str) -> bool {
        let wanted = digest(token);
        self.0.contains(&wanted)
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0123456789abcdef";

    #[test]
    fn a_token_is_a_line() {
        let text = format!("# of the scraper\n{ONE}\n\n  fedcba9876543210  \r\n");
        let tokens = Tokens::parse(&text).unwrap();
        assert!(tokens.has(ONE) && tokens.has("fedcba9876543210"));
        for other in [
            "",
            "# of the scraper",
            "0123456789abcde",
            "0123456789abcdef ",
        ] {
            assert!(!tokens.has(other), "{other}");
        }
    }

    #[test]
    fn what_is_no_token_is_named_by_its_line_and_not_shown() {
        let error = Tokens::parse(&format!("{ONE}\nshort-secret\n")).unwrap_err();
        assert!(
            error.starts_with("line 2: ") && !error.contains("secret"),
            "{error}"
        );
        assert!(Tokens::parse("two words in a line").is_err());
        assert!(Tokens::parse("# none\n").unwrap().is_empty());
    }
}
