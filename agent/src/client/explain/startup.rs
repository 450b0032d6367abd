//! How a session started, as a time line, and how long each phase of its logon took.

use super::{super::units, section::Section};
use crate::api::{Logon, Startup};

/// Columns of the whole line.
const WIDTH: f64 = 40.0;

pub(super) fn startup(startup: &Startup) -> Section {
    // No `..`: a new milestone is shown or does not compile.
    let Startup {
        scheduled,
        sandbox,
        pulled,
        started,
        ready,
        user_manager,
        home_mounted,
        first_process,
        first_listener,
        settled,
        first_client,
        first_gpu_context,
        first_encoder,
    } = *startup;
    let all = [
        ("scheduled", scheduled),
        ("sandbox", sandbox),
        ("image pulled", pulled),
        ("started", started),
        ("ready", ready),
        ("user manager", user_manager),
        ("home mounted", home_mounted),
        ("first process", first_process),
        ("first listener", first_listener),
        ("settled", settled),
        ("first client", first_client),
        ("GPU context", first_gpu_context),
        ("encoder", first_encoder),
    ];
    let mut reached: Vec<(&str, f64)> = all
        .into_iter()
        .filter_map(|(name, at)| Some((name, at?)))
        .collect();
    reached.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut section = Section::new("Start");
    let Some(&(_, whole)) = reached.last() else {
        section.line(
            "milestones",
            "none seen yet; of a session that is older than its agent none is",
        );
        return section;
    };
    let mut before = 0.0;
    for (name, at) in reached {
        let text = format!("{:>8}  {}", units::time(at), bar(before, at, whole));
        section.line(name, text);
        before = at;
    }
    section
}

/// The phases of a logon, one behind the other; none where it is not known or not over.
pub(super) fn logon(logon: &Logon) -> Option<Section> {
    // No `..`: a new phase is shown or does not compile.
    let Logon {
        authentication,
        user_manager,
        home_mounted,
        scheduled,
        sandbox,
        pulled,
        started,
        ready,
        display,
        desktop,
        unaccounted,
    } = *logon;
    let all = [
        ("authentication", authentication),
        ("user manager", user_manager),
        ("home mounted", home_mounted),
        ("scheduled", scheduled),
        ("sandbox", sandbox),
        ("image pulled", pulled),
        ("started", started),
        ("ready", ready),
        ("display", display),
        ("desktop", desktop),
        ("unaccounted", unaccounted),
    ];
    let known = all
        .into_iter()
        .filter_map(|(name, took)| Some((name, took?)));
    let known: Vec<(&str, f64)> = known.collect();
    let whole: f64 = known.iter().map(|(_, took)| took).sum();
    if known.is_empty() {
        return None;
    }
    let mut section = Section::new("Logon");
    section.line("whole", format!("{:>8}", units::time(whole)));
    let mut before = 0.0;
    for (name, took) in known {
        let end = before + took;
        let text = format!("{:>8}  {}", units::time(took), bar(before, end, whole));
        section.line(name, text);
        before = end;
    }
    Some(section)
}

/// From one moment to the next, to scale; at least one column.
fn bar(from: f64, to: f64, whole: f64) -> String {
    let column = |at: f64| {
        let share = if whole > 0.0 { at / whole } else { 1.0 };
        (share * WIDTH).round() as usize
    };
    let end = column(to).max(1);
    let begin = column(from).min(end - 1);
    format!("{}{}", "·".repeat(begin), "█".repeat(end - begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_begins_where_the_one_before_ended() {
        assert_eq!(bar(0.0, 1.0, 4.0), "█".repeat(10));
        assert_eq!(
            bar(1.0, 4.0, 4.0),
            format!("{}{}", "·".repeat(10), "█".repeat(30))
        );
    }

    #[test]
    fn the_phases_of_a_logon_stand_behind_one_another() {
        let phases = Logon {
            authentication: Some(2.0),
            home_mounted: Some(1.0),
            unaccounted: Some(1.0),
            ..Logon::default()
        };
        let page = logon(&phases).unwrap().render();
        let lines: Vec<&str> = page.lines().filter(|line| line.contains('█')).collect();
        assert_eq!(lines.len(), 3, "{page}");
        assert!(
            lines[0].contains("authentication") && lines[0].contains("2 s"),
            "{page}"
        );
        assert!(lines[0].ends_with(&"█".repeat(20)), "{page}");
        let mounted = format!("{}{}", "·".repeat(20), "█".repeat(10));
        assert!(
            lines[1].contains("home mounted") && lines[1].ends_with(&mounted),
            "{page}"
        );
        assert!(page.contains("4 s"), "{page}");
        assert!(logon(&Logon::default()).is_none());
    }

    #[test]
    fn a_moment_too_short_for_a_column_has_one() {
        assert_eq!(bar(0.0, 0.0001, 100.0), "█");
        assert_eq!(bar(0.0, 0.0, 0.0).chars().count(), 40);
        let last = bar(100.0, 100.0, 100.0);
        assert_eq!(last, format!("{}█", "·".repeat(39)));
    }
}
