//! What a check finds and is meant so.

/// A fault that is none.
pub(crate) struct Exception {
    /// By pint's name.
    pub(crate) check: &'static str,
    /// The alert of all severities, or the recording.
    pub(crate) rule: &'static str,
    /// A part of what the check says; empty for all that it says of the rule.
    pub(crate) fault: &'static str,
    /// Why it is meant so.
    pub(crate) reason: &'static str,
}

impl Exception {
    /// Whether it is from this fault of a rule.
    pub(crate) fn is_of(&self, rule: &str, fault: &str) -> bool {
        self.rule == rule && fault.contains(self.fault)
    }
}

const fn one(
    check: &'static str,
    rule: &'static str,
    fault: &'static str,
    reason: &'static str,
) -> Exception {
    Exception {
        check,
        rule,
        fault,
        reason,
    }
}

/// All of them.
pub(crate) const EXCEPTIONS: &[Exception] = &[
    one(
        "alerts/comparison",
        "VdiWatchdog",
        "",
        "it always fires, to show that alerts arrive",
    ),
    one(
        "promql/aggregate",
        "VdiWatchdog",
        "",
        "it is of Prometheus itself, and of no cluster",
    ),
    one(
        "promql/counter",
        "VdiAgentSessionsOverflowed",
        "`vdi_agent_sessions_overflowed_total`",
        "sessions that came since the agent began, and has no room still",
    ),
    one(
        "promql/counter",
        "VdiSessionBudgetExceeded",
        "`vdi_session_budget_exceeded_total`",
        "a series that was not there an hour ago began at 0 since, which increase() does not see",
    ),
    one(
        "promql/counter",
        "VdiSessionOomKilled",
        "`vdi_session_oom_kills_total`",
        "a series that was not there a quarter of an hour ago began at 0 since, which increase() does not see",
    ),
    one(
        "promql/counter",
        "VdiSessionOomKills",
        "`vdi_session_oom_kills_total`",
        "a series that was not there a quarter of an hour ago began at 0 since, which increase() does not see",
    ),
    one(
        "promql/counter",
        "template:vdi_session_ended:increase_1h",
        "`vdi_session_ended_total`",
        "what a series began with that was not there an hour ago; the file says when it is added",
    ),
    one("promql/fragile", "VdiAgentCrashLooping", "`topk`", ONE_NODE),
    one(
        "promql/fragile",
        "VdiSessionImagePullFails",
        "`topk`",
        ONE_NODE,
    ),
    one(
        "promql/fragile",
        "VdiSessionPodCrashLooping",
        "`topk`",
        ONE_NODE,
    ),
    one("promql/fragile", "VdiSessionPodPending", "`topk`", ONE_NODE),
    one(
        "promql/selector",
        "template:vdi_session_ended:increase_1h",
        "is of every exporter",
        "they are matched by job and instance with series of the agent",
    ),
    one(
        "promql/series",
        "VdiSessionNamespaceOverwritten",
        "`exported_namespace`",
        "Prometheus makes that label where its own overwrites the agent's, which is what the alert is about",
    ),
    one(
        "rule/dependency",
        "cluster:vdi_sessions_stuttering:sum",
        "sessionscope.instance.rules",
        "an interval late at most, and the shortest window is five minutes; the file says so",
    ),
    one(
        "rule/dependency",
        "cluster:vdi_sessions_watched:sum",
        "sessionscope.instance.rules",
        "an interval late at most, and the shortest window is five minutes; the file says so",
    ),
    one(
        "rule/dependency",
        "vdi_sessions_total",
        "sessionscope.template_ended.rules",
        "a minute late, of an hour; the group can be left off while the other stays",
    ),
    one(
        "rule/name",
        "DCGM_FI_DEV_GPU_UTIL",
        "level:metric",
        OF_OTHERS,
    ),
    one("rule/name", "vdi_sessions_total", "level:metric", OF_OTHERS),
];

/// Of a query that takes the node of a pod from kube-state-metrics.
const ONE_NODE: &str =
    "one of the nodes of a pod, of which there is one; two only while a pod of the same name moves";
/// Of the recordings of rules/compat.
const OF_OTHERS: &str = "the name is that which dashboards of others ask for";
