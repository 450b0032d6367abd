//! A session's history, and what is concluded from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What `GET /api/v1/sessions/{id}/history` answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct History {
    /// Id of the session.
    pub id: String,
    /// Its name.
    pub session: String,
    /// Its namespace; may be empty.
    pub namespace: String,
    /// What it was made from; may be empty.
    pub template: String,
    /// The last quarter of an hour.
    pub minutes: Steps,
    /// The last day.
    pub day: Steps,
}

/// Steps of one length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Steps {
    /// How long one is.
    pub step_seconds: f64,
    /// When the last one ended.
    pub end_time: Option<f64>,
    /// The figures of the steps, oldest first; null where one was not known. A figure that was never known is not there.
    pub figures: BTreeMap<String, Vec<Option<f64>>>,
}

/// Something that holds a session back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Finding {
    /// What it is, as a name.
    pub cause: String,
    /// Over which time it was looked for: minute or hour, the last of each.
    pub window: String,
    /// It is what follows from another one rather than a cause by itself.
    pub follows: bool,
    /// What it is, in words.
    pub said: String,
    /// What the figure is, in words that follow it.
    pub figure: String,
    /// The figure: the mean of when it was over the limit.
    pub value: f64,
    /// In what it is: share, seconds, count or rate.
    pub unit: String,
    /// From where on it is too much.
    pub limit: f64,
    /// Share of the time in which it was.
    pub share_of_time: f64,
    /// What to do.
    pub advice: String,
    /// The alert with that limit; null without one.
    pub alert: Option<String>,
}

/// Why there is no answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Problem {
    /// In words.
    pub error: String,
}
