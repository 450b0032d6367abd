//! The benchmarks' sessions: where their cgroups are, how the agent recognises them, what it says of
//! them.

use anyhow::{Context, Result, bail};
use lab::agent::Agent;
use serde_json::Value;

/// The cgroup above the sessions.
pub(crate) const PARENT: &str = "sessionscope-bench";

/// The label of the namespace that they are in.
pub(crate) const NAMESPACE: (&str, &str) = ("namespace", "bench");

/// Makes each child cgroup of a benchmark a session.
pub(crate) const RULES: &str = r#"[[rules]]
name = "bench"
pattern = '^/sessionscope-bench/(?P<session>[^/]+)$'
template = "bench"
namespace = "bench"
"#;

/// The agent's live sessions of the benchmark.
pub(crate) fn of(agent: &mut Agent) -> Result<Vec<Value>> {
    let Value::Array(mut sessions) = report(agent)?["sessions"].take() else {
        bail!("the agent's /api/v1/sessions has no list of sessions");
    };
    sessions.retain(|session| session["namespace"] == "bench");
    Ok(sessions)
}

/// All that `/api/v1/sessions` says.
pub(crate) fn report(agent: &mut Agent) -> Result<Value> {
    serde_json::from_str(&agent.get("/api/v1/sessions")?)
        .context("the agent's /api/v1/sessions is not JSON")
}
