//! Figures as people read them: three digits and a unit, `-` for what is not known.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Stands for a value that is not known.
pub(super) const ABSENT: &str = "-";

/// The value as `form` writes it, if it is known.
pub(super) fn or_absent<T>(value: Option<T>, form: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| ABSENT.to_owned(), form)
}

/// A short time: `640 ns`, `12 µs`, `4.6 ms`, `2.1 s`; from two minutes on as [`age`].
pub(super) fn time(seconds: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")];
    if seconds <= 0.0 {
        return "0 s".to_owned();
    }
    if seconds >= 120.0 {
        return age(seconds);
    }
    // Half of the last digit below a unit is that unit.
    let fits = |(unit, _): &&(f64, &str)| seconds >= 0.9995 * unit;
    let (unit, name) = UNITS.iter().find(fits).unwrap_or(&UNITS[3]);
    format!("{} {name}", digits(seconds / unit))
}

/// A long time by its two largest units: `42 s`, `5 min 3 s`, `2 h 3 min`, `3 d 4 h`.
pub(super) fn age(seconds: f64) -> String {
    const UNITS: [(u64, &str); 4] = [(86400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let whole = seconds.max(0.0) as u64;
    let largest = UNITS.iter().position(|(unit, _)| whole >= *unit);
    let Some(at) = largest.filter(|at| at + 1 < UNITS.len()) else {
        return format!("{whole} s");
    };
    let ((unit, name), (next, next_name)) = (UNITS[at], UNITS[at + 1]);
    match whole % unit / next {
        0 => format!("{} {name}", whole / unit),
        rest => format!("{} {name} {rest} {next_name}", whole / unit),
    }
}

/// `512 B`, `4.2 KiB`, `730 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{} {}", digits(value), UNITS[unit]),
    }
}

/// `0.4 %`, `45 %`, of a share from 0 to 1.
pub(super) fn percent(share: f64) -> String {
    format!("{} %", digits(share * 100.0))
}

/// CPUs: `0.93`.
pub(super) fn cpus(cpus: f64) -> String {
    format!("{cpus:.2}")
}

/// A count by thousands: `1,234,567`.
pub(super) fn count(count: u64) -> String {
    let plain = count.to_string();
    let mut text = String::new();
    for (at, digit) in plain.chars().enumerate() {
        if at > 0 && (plain.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time of day, in UTC.
pub(super) fn clock(epoch_seconds: f64) -> String {
    let since = Duration::try_from_secs_f64(epoch_seconds).unwrap_or_default();
    let time = UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Now, seconds since the epoch.
pub(super) fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

/// A name that a process chose, without what a terminal would obey: what moves the cursor, and what turns the direction of
/// writing, so that a name is read from its other end (Unicode's `Bidi_Control`).
pub(super) fn printable(name: &str) -> String {
    let turns = |one: char| matches!(one, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    name.replace(|one: char| one.is_control() || turns(one), "\u{fffd}")
}

/// One decimal below ten unless it is 0, none above.
fn digits(value: f64) -> String {
    if value >= 9.95 {
        return format!("{value:.0}");
    }
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_leaves_three_digits() {
        for (seconds, text) in [
            (0.0, "0 s"),
            (640e-9, "640 ns"),
            (12e-6, "12 µs"),
            (999.9e-6, "1 ms"),
            (0.0046, "4.6 ms"),
            (0.25, "250 ms"),
            (2.14, "2.1 s"),
            (119.0, "119 s"),
            (125.0, "2 min 5 s"),
        ] {
            assert_eq!(time(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn ages_have_two_units_at_most() {
        for (seconds, text) in [
            (0.4, "0 s"),
            (42.0, "42 s"),
            (60.0, "1 min"),
            (303.0, "5 min 3 s"),
            (7380.0, "2 h 3 min"),
            (273_600.0, "3 d 4 h"),
        ] {
            assert_eq!(age(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn sizes_shares_and_counts() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(4300), "4.2 KiB");
        assert_eq!(bytes(730 << 20), "730 MiB");
        assert_eq!(bytes(1023 << 20), "1 GiB");
        assert_eq!(percent(0.004), "0.4 %");
        assert_eq!(percent(0.45), "45 %");
        assert_eq!(count(7), "7");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(or_absent(None, percent), "-");
        assert_eq!(clock(1_700_000_000.25), "2023-11-14T22:13:20Z");
    }

    #[test]
    fn a_name_cannot_talk_to_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
        assert_eq!(
            printable("\u{202e}toor\u{2069} é 机"),
            "\u{fffd}toor\u{fffd} é 机"
        );
    }
}
