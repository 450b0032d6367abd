//! Sessionscope's Grafana dashboards: each is a list of panels, from which `cargo xtask dashboards` writes the JSON
//! beside this crate.
//!
//! ```text
//!  fleet, sessions, …     a file for each dashboard: its rows, its panels and their queries
//!     │ made of
//!  panel, vocabulary      kinds of panels; units, thresholds, words and labels that they may have
//!  board, select          which dashboards there are, what can be chosen, ways from one to another
//!     │ become
//!  grafana, render, style the JSON, where each panel lies included
//!  model, looks           what Grafana wants to know
//! ```

mod agents;
mod board;
mod capacity;
mod fleet;
mod gpus;
mod grafana;
mod logs;
mod looks;
mod model;
mod network;
mod node;
mod panel;
mod render;
mod select;
mod session;
mod sessions;
mod slo;
mod streams;
mod style;
mod templates;
mod vocabulary;

use grafana::Dashboard;

/// In the order in which they are looked at.
fn dashboards() -> [Dashboard; 12] {
    [
        fleet::dashboard(),
        sessions::dashboard(),
        session::dashboard(),
        gpus::dashboard(),
        streams::dashboard(),
        node::dashboard(),
        network::dashboard(),
        templates::dashboard(),
        slo::dashboard(),
        agents::dashboard(),
        capacity::dashboard(),
        logs::dashboard(),
    ]
}

/// Each dashboard: its file in the repository, and the JSON that Grafana loads.
pub fn all() -> serde_json::Result<Vec<(&'static str, String)>> {
    dashboards()
        .iter()
        .map(|dashboard| {
            let json = serde_json::to_string_pretty(&dashboard.to_grafana())?;
            Ok((dashboard.board.file(), json + "\n"))
        })
        .collect()
}

#[cfg(test)]
mod tests;
