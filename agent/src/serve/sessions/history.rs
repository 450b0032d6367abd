//! `GET /api/v1/sessions/{id}/history`, and what is concluded from it.

use std::{
    collections::BTreeMap,
    time::{Instant, SystemTime},
};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::{super::AppState, by_id, seconds_since_epoch, unknown};
use crate::{
    api,
    session::{
        findings::{self, LOOKED_AT},
        history::{Figure, Steps},
    },
    snapshot::SessionView,
};

/// What the API calls them.
pub(super) const WINDOWS: [&str; 2] = ["minute", "hour"];

/// Answers with the history of a session that the last sample has.
#[utoipa::path(
    get,
    path = "/api/v1/sessions/{id}/history",
    params(("id", description = "Id of the session, 32 hexadecimal digits")),
    responses(
        (status = 200, description = "Its last quarter of an hour and its last day", body = api::History),
        (status = 404, description = "No session has the id", body = api::Problem)
    )
)]
pub(in crate::serve) async fn history(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Response {
    let snapshot = state.snapshot();
    let view = snapshot
        .as_deref()
        .and_then(|snapshot| by_id(snapshot, &id));
    let Some(view) = view else {
        return unknown(&id);
    };
    let Some(history) = &view.history else {
        let error = "the agent keeps no history: sessions.history is off".to_owned();
        return (StatusCode::NOT_FOUND, Json(api::Problem { error })).into_response();
    };
    let [minutes, day] = history.view(Instant::now(), SystemTime::now());
    let answer = api::History {
        id,
        session: view.identity.session.clone(),
        namespace: view.identity.namespace.clone(),
        template: view.identity.template.clone(),
        minutes: told(&minutes),
        day: told(&day),
    };
    Json(answer).into_response()
}

fn told(steps: &Steps) -> api::Steps {
    let of = |figure: Figure| {
        let values = steps.steps.iter().map(|step| step.get(figure).map(rounded));
        (figure.name().to_owned(), values.collect())
    };
    let figures: BTreeMap<String, Vec<Option<f64>>> = Figure::ALL.into_iter().map(of).collect();
    api::Steps {
        step_seconds: steps.length.as_secs_f64(),
        end_time: seconds_since_epoch(steps.until),
        // What was never known takes no room.
        figures: figures
            .into_iter()
            .filter(|(_, values)| values.iter().any(Option::is_some))
            .collect(),
    }
}

/// To four digits, which is what is known.
pub(super) fn rounded(value: f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

/// What held a session back over the last minute and the last hour; `None` where there is no history.
pub(super) fn findings(view: &SessionView) -> Option<Vec<api::Finding>> {
    let both = view.history.as_ref()?.last(LOOKED_AT);
    let found = WINDOWS.into_iter().zip(both).flat_map(|(window, steps)| {
        findings::conclude(&steps)
            .into_iter()
            .map(move |finding| finding_of(window, &finding))
    });
    Some(found.collect())
}

pub(super) fn finding_of(window: &str, finding: &findings::Finding) -> api::Finding {
    let rule = finding.rule;
    api::Finding {
        cause: rule.cause.name().to_owned(),
        window: window.to_owned(),
        follows: rule.is_symptom,
        said: rule.said.to_owned(),
        figure: rule.figure.to_owned(),
        value: rounded(finding.value),
        unit: rule.unit.name().to_owned(),
        limit: rounded(rule.limit.value),
        share_of_time: rounded(finding.share),
        advice: rule.advice.to_owned(),
        alert: rule.limit.alert.map(|alert| alert.name.to_owned()),
    }
}
