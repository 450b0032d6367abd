//! Durations, which always carry a unit: whether a bare `5` means seconds or milliseconds is what
//! operators get wrong.

use std::time::Duration;

/// What a duration without a unit is answered with.
pub(super) const NEEDS_UNIT: &str = "a duration needs a unit, for example \"5m\"";

/// Parses `5m`, `250ms`, `1h 30m`.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text.parse::<f64>().is_ok() {
        return Err(NEEDS_UNIT.to_owned());
    }
    humantime::parse_duration(text)
        .map_err(|_| format!("\"{text}\" is no duration; write it as \"250ms\", \"30s\" or \"5m\""))
}

/// The text that [`parse`] turns back into `duration`.
pub(super) fn format(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_parse_with_their_unit() {
        assert_eq!(parse("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(parse(" 250ms "), Ok(Duration::from_millis(250)));
        assert_eq!(parse("1h 30m"), Ok(Duration::from_mins(90)));
    }

    #[test]
    fn a_number_without_a_unit_is_told_to_have_one() {
        for text in ["5", "0", "1.5", "-3"] {
            assert_eq!(parse(text), Err(NEEDS_UNIT.to_owned()), "{text}");
        }
    }

    #[test]
    fn other_text_is_shown_the_form() {
        for text in ["", "soon", "5x", "5m5"] {
            assert!(parse(text).unwrap_err().contains("\"30s\""), "{text}");
        }
    }

    #[test]
    fn formatting_and_parsing_are_inverse() {
        for millis in [200, 1000, 1500, 90_000, 300_000] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse(&format(duration)), Ok(duration));
        }
    }
}
