//! What Prometheus is asked: THE list of a report's figures.
//!
//! In an expression `{{W}}` is the length of the report as a range, and `{{O}}` the offset by which the same is asked of an
//! earlier time. A histogram is asked for in both of its forms: classic buckets, or native ones.

use super::document::Unit;

/// A figure of the whole.
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) query: &'static str,
}

macro_rules! quantile {
    ($q:literal, $stem:literal, $selector:literal) => {
        concat!(
            "histogram_quantile(",
            $q,
            ", sum by (le) (increase(",
            $stem,
            "_bucket",
            $selector,
            "[{{W}}]{{O}}))) ",
            "or histogram_quantile(",
            $q,
            ", sum(increase(",
            $stem,
            $selector,
            "[{{W}}]{{O}})))"
        )
    };
}

/// Ends that nobody wants.
macro_rules! failed {
    () => {
        "reason=~\"error|oom_killed|evicted|gpu_error\""
    };
}

/// Of all sessions together.
pub(super) const FIGURES: &[Figure] = &[
    Figure {
        name: "Sessions started",
        unit: Unit::Count,
        query: "sum(increase(vdi_sessions_started_total[{{W}}]{{O}}))",
    },
    Figure {
        name: "Most sessions at once",
        unit: Unit::Count,
        query: "max_over_time(sum(vdi_sessions)[{{W}}:5m]{{O}})",
    },
    Figure {
        name: "Sessions ended",
        unit: Unit::Count,
        query: "sum(increase(vdi_session_ended_total[{{W}}]{{O}}))",
    },
    Figure {
        name: "of them failed",
        unit: Unit::Count,
        query: concat!(
            "sum(increase(vdi_session_ended_total{",
            failed!(),
            "}[{{W}}]{{O}}))"
        ),
    },
    Figure {
        name: "Start until something listens, p50",
        unit: Unit::Seconds,
        query: quantile!(
            "0.5",
            "vdi_session_startup_seconds",
            "{milestone=\"first_listener\"}"
        ),
    },
    Figure {
        name: "Start until something listens, p95",
        unit: Unit::Seconds,
        query: quantile!(
            "0.95",
            "vdi_session_startup_seconds",
            "{milestone=\"first_listener\"}"
        ),
    },
    Figure {
        name: "Length of a session, p50",
        unit: Unit::Seconds,
        query: quantile!("0.5", "vdi_session_duration_seconds", ""),
    },
    Figure {
        name: "Length of a session, p95",
        unit: Unit::Seconds,
        query: quantile!("0.95", "vdi_session_duration_seconds", ""),
    },
    Figure {
        name: "CPU time",
        unit: Unit::Hours,
        query: "sum(increase(vdi_session_cpu_seconds_total[{{W}}]{{O}})) / 3600",
    },
    Figure {
        name: "CPU time that others had instead",
        unit: Unit::Hours,
        query: "sum(increase(vdi_session_cpu_wait_seconds_total{cause=\"contention\"}[{{W}}]{{O}})) / 3600",
    },
    Figure {
        name: "GPU time",
        unit: Unit::Hours,
        query: "sum(increase(vdi_session_gpu_busy_seconds_total{engine=\"sm\"}[{{W}}]{{O}})) / 3600",
    },
    Figure {
        name: "GPU energy",
        unit: Unit::KilowattHours,
        query: "sum(increase(vdi_gpu_energy_joules_total[{{W}}]{{O}})) / 3.6e6",
    },
];

/// An objective: which events there were, which of them were bad, and what part may be.
pub(super) struct Objective {
    pub(super) name: &'static str,
    pub(super) events: &'static str,
    pub(super) bad: &'static str,
    /// The part of the events that may be bad.
    pub(super) allowed: f64,
}

/// As `rules/recordings/slo.yml` has them.
pub(super) const OBJECTIVES: &[Objective] = &[
    Objective {
        name: "A session has a listener within 64 s",
        events: "sum(sum_over_time(cluster:vdi_session_startups:rate5m[{{W}}]{{O}}))",
        bad: "sum(sum_over_time(cluster:vdi_session_startups_slow:rate5m[{{W}}]{{O}}))",
        allowed: 0.05,
    },
    Objective {
        name: "A session that is watched does not stutter",
        events: "sum(sum_over_time(cluster:vdi_sessions_watched:sum[{{W}}]{{O}}))",
        bad: "sum(sum_over_time(cluster:vdi_sessions_stuttering:sum[{{W}}]{{O}}))",
        allowed: 0.01,
    },
];

/// A figure by labels.
pub(super) struct Grouped {
    pub(super) title: &'static str,
    /// Of the labels, and what they are called.
    pub(super) by: &'static [(&'static str, &'static str)],
    /// The columns. A row is there where the first of them is.
    pub(super) columns: &'static [Figure],
    /// So many rows at most, the largest of the first column; or the smallest.
    pub(super) most: usize,
    pub(super) ascending: bool,
    /// Said when there is no row.
    pub(super) none: &'static str,
}

const TEMPLATE: &[(&str, &str)] = &[("namespace", "Namespace"), ("template", "Template")];
const SESSION: &[(&str, &str)] = &[
    ("session", "Session"),
    ("namespace", "Namespace"),
    ("template", "Template"),
    ("instance", "Node"),
];
const GPU: &[(&str, &str)] = &[("instance", "Node"), ("gpu", "GPU")];

/// By template.
pub(super) const TEMPLATES: Grouped = Grouped {
    title: "By template",
    by: TEMPLATE,
    columns: &[
        Figure {
            name: "started",
            unit: Unit::Count,
            query: "sum by (namespace, template) (increase(vdi_sessions_started_total[{{W}}]))",
        },
        Figure {
            name: "failed",
            unit: Unit::Count,
            query: concat!(
                "sum by (namespace, template) (increase(vdi_session_ended_total{",
                failed!(),
                "}[{{W}}]))"
            ),
        },
        Figure {
            name: "CPU time",
            unit: Unit::Hours,
            query: "sum by (namespace, template) (increase(vdi_session_cpu_seconds_total[{{W}}])) / 3600",
        },
        Figure {
            name: "GPU time",
            unit: Unit::Hours,
            query: "sum by (namespace, template) (increase(vdi_session_gpu_busy_seconds_total{engine=\"sm\"}[{{W}}])) / 3600",
        },
        // The energy of a GPU goes to the templates as the time on it does.
        Figure {
            name: "GPU energy",
            unit: Unit::KilowattHours,
            query: "sum by (namespace, template) (\
                sum by (namespace, template, instance, gpu) (increase(vdi_session_gpu_busy_seconds_total{engine=\"sm\"}[{{W}}])) \
                / on (instance, gpu) group_left () \
                (sum by (instance, gpu) (increase(vdi_session_gpu_busy_seconds_total{engine=\"sm\"}[{{W}}])) > 0) \
                * on (instance, gpu) group_left () \
                sum by (instance, gpu) (increase(vdi_gpu_energy_joules_total[{{W}}]))) / 3.6e6",
        },
    ],
    most: 50,
    ascending: false,
    none: "sessions by template (vdi_sessions_started_total)",
};

/// Why sessions ended.
pub(super) const ENDS: Grouped = Grouped {
    title: "Ends by reason",
    by: &[("reason", "Reason")],
    columns: &[Figure {
        name: "sessions",
        unit: Unit::Count,
        query: "sum by (reason) (increase(vdi_session_ended_total[{{W}}])) > 0",
    }],
    most: 10,
    ascending: false,
    none: "ends of sessions (vdi_session_ended_total)",
};

/// Who felt worst.
pub(super) const WORST: Grouped = Grouped {
    title: "Sessions that felt worst",
    by: SESSION,
    columns: &[
        Figure {
            name: "score",
            unit: Unit::Score,
            query: "min by (session, namespace, template, instance) (avg_over_time(session:vdi_session_experience:score_5m[{{W}}]))",
        },
        Figure {
            name: "latency",
            unit: Unit::Score,
            query: "min by (session, namespace, template, instance) (avg_over_time(session_part:vdi_session_experience:score_5m{part=\"latency\"}[{{W}}]))",
        },
        Figure {
            name: "answers",
            unit: Unit::Score,
            query: "min by (session, namespace, template, instance) (avg_over_time(session_part:vdi_session_experience:score_5m{part=\"answers\"}[{{W}}]))",
        },
        Figure {
            name: "applications",
            unit: Unit::Score,
            query: "min by (session, namespace, template, instance) (avg_over_time(session_part:vdi_session_experience:score_5m{part=\"applications\"}[{{W}}]))",
        },
    ],
    most: 10,
    ascending: true,
    none: "how sessions felt (session:vdi_session_experience:score_5m, of rules/recordings/session.yml)",
};

/// Who lost most to others.
pub(super) const NEIGHBOURS: Grouped = Grouped {
    title: "Sessions that lost most to their neighbours",
    by: SESSION,
    columns: &[
        Figure {
            name: "CPU time that others had",
            unit: Unit::Hours,
            query: "sum by (session, namespace, template, instance) (increase(vdi_session_cpu_wait_seconds_total{cause=\"contention\"}[{{W}}])) / 3600 > 0",
        },
        Figure {
            name: "CPU time of its own",
            unit: Unit::Hours,
            query: "sum by (session, namespace, template, instance) (increase(vdi_session_cpu_seconds_total[{{W}}])) / 3600",
        },
        Figure {
            name: "preempted by other sessions",
            unit: Unit::Count,
            query: "sum by (session, namespace, template, instance) (increase(vdi_session_context_switches_total{kind=\"preempted_by_session\"}[{{W}}]))",
        },
        Figure {
            name: "held by its own CPU limit",
            unit: Unit::Hours,
            query: "sum by (session, namespace, template, instance) (increase(vdi_session_cpu_throttled_seconds_total{by=\"own\"}[{{W}}])) / 3600",
        },
    ],
    most: 10,
    ascending: false,
    none: "waits for a CPU (vdi_session_cpu_wait_seconds_total)",
};

/// How the GPUs were used.
pub(super) const GPUS: Grouped = Grouped {
    title: "GPUs, the least used first",
    by: GPU,
    columns: &[
        Figure {
            name: "in use",
            unit: Unit::Share,
            query: "avg by (instance, gpu) (avg_over_time(vdi_gpu_utilization_ratio[{{W}}]))",
        },
        Figure {
            name: "memory",
            unit: Unit::Share,
            query: "avg by (instance, gpu) (avg_over_time(gpu:vdi_gpu_memory_used:ratio[{{W}}]))",
        },
        Figure {
            name: "energy",
            unit: Unit::KilowattHours,
            query: "sum by (instance, gpu) (increase(vdi_gpu_energy_joules_total[{{W}}])) / 3.6e6",
        },
    ],
    most: 50,
    ascending: true,
    none: "GPUs (vdi_gpu_utilization_ratio)",
};

/// Agents that were not there all the time, or did not see all.
pub(super) const AGENTS: Grouped = Grouped {
    title: "Agents, the worst first",
    by: &[("instance", "Node")],
    columns: &[
        Figure {
            name: "up",
            unit: Unit::Share,
            query: "avg by (instance) (avg_over_time(up{job=\"sessionscope\"}[{{W}}]))",
        },
        Figure {
            name: "events lost",
            unit: Unit::Count,
            query: "sum by (instance) (increase(vdi_agent_events_lost_total[{{W}}]))",
        },
        Figure {
            name: "programs off",
            unit: Unit::Count,
            query: "count by (instance) (last_over_time(vdi_agent_probe_up[{{W}}]) == 0) or 0 * count by (instance) (last_over_time(vdi_agent_probe_up[{{W}}]))",
        },
        Figure {
            name: "CPU of the agent",
            unit: Unit::Share,
            query: "sum by (instance) (rate(process_cpu_seconds_total{job=\"sessionscope\"}[{{W}}]))",
        },
    ],
    most: 20,
    ascending: true,
    none: "agents (up{job=\"sessionscope\"})",
};

/// Sessions by template over time.
pub(super) const SESSIONS_OVER_TIME: &str = "sum by (template) (vdi_sessions)";
/// Alerts that fire.
pub(super) const FIRING: &str = "ALERTS{alertstate=\"firing\"}";

/// An expression for a length of time, so long ago.
pub(super) fn filled(query: &str, window: f64, ago: f64) -> String {
    let offset = if ago > 0.0 {
        format!(" offset {ago:.0}s")
    } else {
        String::new()
    };
    query
        .replace("{{W}}", &format!("{window:.0}s"))
        .replace("{{O}}", &offset)
}
