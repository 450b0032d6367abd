//! Sessionscope's Grafana dashboards: each is a list of panels, from which `cargo xtask dashboards` writes the JSON
//! beside this crate.
//!
//! What Grafana wants to know besides is in [`grafana`] and [`model`].

mod grafana;
mod model;
mod sessions;

/// Each dashboard: its file in the repository, and the JSON that Grafana loads.
pub fn all() -> serde_json::Result<Vec<(&'static str, String)>> {
    let sessions = serde_json::to_string_pretty(&sessions::dashboard().to_grafana())?;
    Ok(vec![("dashboards/sessions.json", sessions + "\n")])
}
