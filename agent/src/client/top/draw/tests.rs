use std::collections::BTreeMap;

use clap::ValueEnum as _;
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers},
};

use super::{
    super::{
        super::{Filter, table::Sort},
        fetch::Answer,
    },
    *,
};
use crate::api::{Finding, Report, Steps};

fn key(state: &mut State, code: KeyCode) {
    state.on(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)));
}

/// Sessions of which the first has a name that is no plain text.
fn state() -> State {
    let sort = Sort::from_str("cpu", false).expect("a column");
    let mut state = State::new(sort, Filter::default());
    let session = |at: usize| Session {
        id: format!("id {at}"),
        session: if at == 0 {
            "evil\u{1b}[2J".to_owned()
        } else {
            format!("desktop-of-somebody-{at}")
        },
        namespace: "a-long-namespace".to_owned(),
        template: "workstation".to_owned(),
        phase: Some("Running".to_owned()),
        cpu_ratio: Some(9.0 - at as f64),
        findings: Some(vec![Finding {
            cause: "slow_disk".to_owned(),
            window: "minute".to_owned(),
            said: "its disk is slow".to_owned(),
            advice: "Look who else writes.".to_owned(),
            ..Finding::default()
        }]),
        ..Session::default()
    };
    let report = Report {
        sessions: (0..40).map(session).collect(),
        ..Report::default()
    };
    state.take(Answer::Report(Ok(Box::new(report))), 1.0);
    state
}

fn screen(state: &mut State, width: u16, height: u16) -> Vec<String> {
    let backend = TestBackend::new(width, height);
    let mut terminal = Terminal::new(backend).expect("a screen");
    terminal
        .draw(|frame| draw(frame, state))
        .expect("it is drawn");
    let buffer = terminal.backend().buffer();
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect();
    (0..height).map(row).collect()
}

#[test]
fn the_list_fits_every_terminal_with_the_column_that_sorts() {
    for (width, height) in [(200, 50), (80, 24), (40, 10), (12, 4), (1, 1)] {
        let mut state = state();
        let lines = screen(&mut state, width, height);
        if width >= 40 {
            assert!(lines[0].starts_with("40 sessions, 40 Running"), "{lines:?}");
            assert!(
                lines[1].starts_with("SESSION") && lines[1].contains("CPU▼"),
                "{lines:?}"
            );
            // What a name says is not done.
            assert!(lines[2].starts_with("evil"), "{lines:?}");
            assert!(lines.iter().all(|line| !line.contains('\u{1b}')));
        }
    }
    let wide = screen(&mut state(), 80, 24);
    assert!(wide[23].contains("q leave"), "{wide:?}");
}

#[test]
fn what_is_chosen_is_on_the_screen_and_the_mouse_finds_it() {
    let mut state = state();
    key(&mut state, KeyCode::End);
    let lines = screen(&mut state, 80, 24);
    assert!(lines[22].starts_with("desktop-of-somebody-39"), "{lines:?}");
    assert_eq!((state.places.rows, state.places.first), ((2, 21), 19));
    assert_eq!(state.places.columns[0], (0, "session"));
}

#[test]
fn a_page_has_plots_where_there_is_room_and_its_text_everywhere() {
    let mut state = state();
    key(&mut state, KeyCode::Enter);
    let values: Vec<Option<f64>> = (0..180).map(|at| Some(f64::from(at % 20))).collect();
    let figures = ["cpus", "contention", "rtt_p95"].map(|name| (name.to_owned(), values.clone()));
    let history = History {
        id: "id 0".to_owned(),
        minutes: Steps {
            step_seconds: 5.0,
            figures: BTreeMap::from(figures),
            ..Steps::default()
        },
        ..History::default()
    };
    state.take(Answer::History(Ok(Box::new(history))), 2.0);
    let tall = screen(&mut state, 100, 40).join("\n");
    assert!(
        tall.contains("CPUs in use") && tall.contains("round trip, p95"),
        "{tall}"
    );
    let is_braille = |letter: char| ('\u{2801}'..='\u{28ff}').contains(&letter);
    assert!(
        tall.chars().filter(|letter| is_braille(*letter)).count() > 50,
        "{tall}"
    );
    assert!(tall.contains("its disk is slow") && tall.contains("! Look who else writes."));
    let small = screen(&mut state, 40, 12).join("\n");
    assert!(
        !small.contains("CPUs in use") && small.contains("Held back by"),
        "{small}"
    );
    screen(&mut state, 3, 2);
    key(&mut state, KeyCode::Char('h'));
    let keys = screen(&mut state, 80, 24).join("\n");
    assert!(keys.contains("search in session"), "{keys}");
}
