//! What the user of a session feels: how late input is read and answered, what hangs, and who is cut off.

use crate::panel::Panel;
use crate::select::SESSION;
use crate::vocabulary::{
    Thresholds::{Above, Any, Below},
    Unit::{Count, Ratio, Seconds},
};

pub(super) fn felt() -> Vec<Panel> {
    let mut panels = now();
    panels.extend(course());
    panels
}

fn now() -> Vec<Panel> {
    vec![
        Panel::trend(
            "Experience",
            Ratio,
            "Score from 0 to 1: the least of its parts. It is of input and its answers, and says nothing of picture and sound.",
        )
        .query(format!("min(session:vdi_session_experience:score_5m{{{SESSION}}})"), "score")
        .of_all()
        .thresholds(Below(0.7, 0.4))
        .nothing("not known"),
        Panel::trend(
            "Response",
            Seconds,
            "Mean time from input after a pause until the first bytes of an answer are sent. Absent over UDP, and where there is no pause.",
        )
        .query(format!("max(session:vdi_session_response_seconds:mean_5m{{{SESSION}}})"), "response")
        .thresholds(Above(0.2, 0.5))
        .nothing("no answers"),
        Panel::trend(
            "Unanswered inputs",
            Ratio,
            "Of the inputs after a pause, the part that got no answer within two seconds. A pointer that moves over nothing leaves some.",
        )
        .query(format!("max(session:vdi_session_unanswered_inputs:ratio_5m{{{SESSION}}})"), "unanswered")
        .of_all()
        .thresholds(Above(0.5, 0.8))
        .nothing("no input")
        .alerts(&["VdiSessionScreenFrozen"]),
        Panel::trend(
            "Hung applications",
            Count,
            "Applications that have left what their display sends them unread for more than five seconds.",
        )
        .query(format!("sum(vdi_session_unresponsive_applications{{{SESSION}}})"), "hung")
        .thresholds(Any)
        .nothing("not measured")
        .alerts(&["VdiSessionApplicationHangs"]),
        Panel::number(
            "Late input",
            Count,
            "How often within five minutes input waited for longer than 0.5 s until it was read. It is exact.",
        )
        .query(
            format!("300 * sum(session_stage:vdi_session_input_delay_seconds:above_500ms_rate5m{{{SESSION}}})"),
            "late",
        )
        .thresholds(Above(1.0, 5.0))
        .nothing("not measured")
        .alerts(&["VdiSessionInputDelayHigh"]),
        Panel::number(
            "Cut off, last hour",
            Count,
            "Clients whose connection was reset or timed out within the last hour.",
        )
        .query(
            format!(r#"sum(increase(vdi_session_client_disconnects_total{{how=~"reset|timed_out", {SESSION}}}[1h]))"#),
            "cut off",
        )
        .thresholds(Above(1.0, 4.0))
        .nothing("no TCP client")
        .alerts(&["VdiSessionClientsCutOff"]),
    ]
}

fn course() -> Vec<Panel> {
    vec![
        Panel::stacked(
            "From key to answer",
            Seconds,
            "Where the time goes, the mean of each stage: the way to the client and back, until the display server reads, until the application reads, and the work of both. A stage that is not known is absent.",
        )
        .query(
            format!("sum by (stage) (session_stage:vdi_session_latency_seconds:mean_5m{{{SESSION}}})"),
            "{{stage}}",
        )
        .thresholds(Above(0.2, 0.5)),
        Panel::lines(
            "Parts of the experience",
            Ratio,
            "The parts of the score, each from 0 to 1. The least is the score.",
        )
        .query(
            format!("min by (part) (session_part:vdi_session_experience:score_5m{{{SESSION}}})"),
            "{{part}}",
        )
        .of_all(),
        Panel::lines(
            "Time lost, last hour",
            Seconds,
            "Time of the hour before in which applications did not respond, all of them together, and in which the session had lost its client. That a client was cut off is known a quarter of an hour later.",
        )
        .query(
            format!("sum(increase(vdi_session_unresponsive_seconds_total{{{SESSION}}}[1h]))"),
            "applications hang",
        )
        .query(
            format!("sum(increase(vdi_session_disconnected_seconds_total{{{SESSION}}}[1h]))"),
            "client is away",
        )
        .alerts(&["VdiSessionApplicationHangs"]),
        Panel::buckets(
            "Input delay of applications",
            Seconds,
            "How long what the display sent waited until its application read it: how often, in each bucket.",
        )
        .query(
            format!(r#"sum by (le) (increase(vdi_session_input_delay_seconds_bucket{{stage="application", {SESSION}}}[$__rate_interval]))"#),
            "{{le}}",
        )
        .alerts(&["VdiSessionInputDelayHigh"]),
        Panel::buckets(
            "Response to input",
            Seconds,
            "How long it took from input after a pause until the first bytes of an answer: how often, in each bucket.",
        )
        .query(
            format!("sum by (le) (increase(vdi_session_response_seconds_bucket{{{SESSION}}}[$__rate_interval]))"),
            "{{le}}",
        ),
        Panel::lines(
            "Clients gone and back",
            Count,
            "Clients that left within the hour before, by how, and those that came back.",
        )
        .query(
            format!("sum by (how) (increase(vdi_session_client_disconnects_total{{{SESSION}}}[1h]))"),
            "gone: {{how}}",
        )
        .query(
            format!("sum(increase(vdi_session_client_reconnects_total{{{SESSION}}}[1h]))"),
            "back",
        )
        .alerts(&["VdiSessionClientsCutOff"]),
    ]
}
