use ratatui::crossterm::event::KeyEventState;

use super::*;

fn session(name: &str, processes: u64) -> Session {
    Session {
        id: format!("id of {name}"),
        session: name.to_owned(),
        namespace: "lab".to_owned(),
        processes: Some(processes),
        ..Session::default()
    }
}

fn report(sessions: Vec<Session>) -> Answer {
    Answer::Report(Ok(Box::new(Report {
        sessions,
        ..Report::default()
    })))
}

fn by(key: &str) -> Sort {
    Sort::from_str(key, false).expect("a column")
}

/// Three sessions, the busiest first.
fn three() -> State {
    let mut state = State::new(by("procs"), Filter::default());
    let sessions = vec![session("ada", 1), session("bob", 3), session("cid", 2)];
    state.take(report(sessions), 1.0);
    state
}

fn press(state: &mut State, code: KeyCode) -> Next {
    press_with(state, code, KeyModifiers::NONE)
}

fn press_with(state: &mut State, code: KeyCode, modifiers: KeyModifiers) -> Next {
    state.on(&Event::Key(KeyEvent {
        code,
        modifiers,
        kind: KeyEventKind::Press,
        state: KeyEventState::NONE,
    }))
}

fn write(state: &mut State, text: &str) {
    for letter in text.chars() {
        press(state, KeyCode::Char(letter));
    }
}

fn names(state: &State) -> Vec<&str> {
    let sessions = state.sessions().into_iter();
    sessions.map(|session| &*session.session).collect()
}

#[test]
fn the_list_is_sorted_turned_round_and_searched() {
    let mut state = three();
    assert_eq!(names(&state), ["bob", "cid", "ada"]);
    press(&mut state, KeyCode::Char('r'));
    assert_eq!(names(&state), ["ada", "cid", "bob"]);
    let before = state.sort;
    press(&mut state, KeyCode::Char('s'));
    assert!(state.sort != before && !state.is_reversed);
    press(&mut state, KeyCode::Char('<'));
    assert_eq!(state.sort, before);
    press(&mut state, KeyCode::Char('/'));
    // What would leave is a letter while it is typed.
    write(&mut state, "Dq");
    assert_eq!(names(&state), [""; 0]);
    press(&mut state, KeyCode::Backspace);
    assert_eq!(names(&state), ["cid", "ada"]);
    press(&mut state, KeyCode::Enter);
    assert_eq!(state.typing, Typing::Keys);
    press(&mut state, KeyCode::Esc);
    assert_eq!(names(&state).len(), 3);
    assert_eq!(press(&mut state, KeyCode::Char('q')), Next::Leave);
}

#[test]
fn what_is_chosen_stays_so_wherever_it_is_in_the_order() {
    let mut state = three();
    press(&mut state, KeyCode::Down);
    assert_eq!(state.chosen(), Some(1));
    let sessions = vec![session("ada", 1), session("bob", 3), session("cid", 9)];
    state.take(report(sessions), 2.0);
    assert_eq!((names(&state)[0], state.chosen()), ("cid", Some(0)));
    press(&mut state, KeyCode::Up);
    assert_eq!(state.chosen(), Some(0));
    press(&mut state, KeyCode::End);
    assert_eq!(state.chosen(), Some(2));
    // It is gone.
    state.take(report(vec![session("bob", 3)]), 3.0);
    assert_eq!(state.chosen(), Some(0));
    state.take(report(Vec::new()), 4.0);
    assert_eq!(state.chosen(), None);
    press(&mut state, KeyCode::Enter);
    assert_eq!(state.view, View::List);
}

#[test]
fn a_page_is_entered_read_and_left() {
    let mut state = three();
    press(&mut state, KeyCode::Enter);
    assert_eq!(state.wanted().as_deref(), Some("id of bob"));
    let (shown, history) = state.shown().expect("its page");
    assert_eq!((&*shown.session, history), ("bob", None));
    // A history of another one is not its own.
    for id in ["id of ada", "id of bob"] {
        let history = History {
            id: id.to_owned(),
            ..History::default()
        };
        state.take(Answer::History(Ok(Box::new(history))), 2.0);
        let (_, history) = state.shown().expect("its page");
        assert_eq!(history.is_some(), id == "id of bob");
    }
    press(&mut state, KeyCode::PageDown);
    state.bound(4);
    let id = "id of bob".to_owned();
    assert_eq!(state.view, View::Session { id, above: 4 });
    // It has ended and is forgotten.
    state.take(report(vec![session("ada", 1)]), 3.0);
    assert!(state.shown().is_none());
    assert_eq!(press(&mut state, KeyCode::Char('q')), Next::Go);
    assert_eq!(state.view, View::List);
    let control = KeyModifiers::CONTROL;
    assert_eq!(
        press_with(&mut state, KeyCode::Char('c'), control),
        Next::Leave
    );
}

#[test]
fn frozen_takes_nothing_and_an_agent_that_is_away_leaves_what_there_was() {
    let mut state = three();
    state.take(Answer::Report(Err("it is away".to_owned())), 2.0);
    assert_eq!(
        (state.count(), state.error.as_deref()),
        (3, Some("it is away"))
    );
    press(&mut state, KeyCode::Char(' '));
    state.take(report(Vec::new()), 3.0);
    assert_eq!(state.count(), 3);
    press(&mut state, KeyCode::Char(' '));
    state.take(report(Vec::new()), 4.0);
    assert_eq!((state.count(), &state.error), (0, &None));
}

#[test]
fn a_click_on_a_heading_sorts_and_one_on_a_session_chooses_and_enters() {
    let mut state = three();
    state.places = Places {
        headings: 1,
        rows: (2, 3),
        first: 0,
        columns: vec![(0, "session"), (10, "procs")],
    };
    let click = |state: &mut State, column, row| {
        state.on(&Event::Mouse(MouseEvent {
            kind: MouseEventKind::Down(MouseButton::Left),
            column,
            row,
            modifiers: KeyModifiers::NONE,
        }));
    };
    click(&mut state, 3, 1);
    assert_eq!(names(&state), ["ada", "bob", "cid"]);
    click(&mut state, 3, 1);
    assert_eq!(names(&state), ["cid", "bob", "ada"]);
    click(&mut state, 40, 1);
    assert_eq!(names(&state), ["bob", "cid", "ada"]);
    click(&mut state, 0, 3);
    assert_eq!(state.chosen(), Some(1));
    click(&mut state, 0, 5);
    assert_eq!((state.chosen(), &state.view), (Some(1), &View::List));
    click(&mut state, 0, 3);
    assert_eq!(state.wanted().as_deref(), Some("id of cid"));
}
