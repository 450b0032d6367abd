//! What the agents do, and what it costs.

use crate::board::Link;
use crate::panel::Panel;
use crate::select::NODES;
use crate::vocabulary::{
    Label,
    Thresholds::{Below, Plain},
    Unit::{Age, Bytes, Count, PerSecond, Ratio, Seconds},
};

pub(super) fn requests() -> Vec<Panel> {
    let quantile = |share: &str| {
        format!(
            "histogram_quantile({share}, sum by (le) (rate(vdi_agent_http_request_duration_seconds_bucket{{{NODES}}}[$__rate_interval])))"
        )
    };
    vec![
        Panel::lines("Requests", PerSecond, "Requests that were answered, by path and status.").query(
            format!("sum by (path, status) (rate(vdi_agent_http_requests_total{{{NODES}}}[$__rate_interval]))"),
            "{{path}} {{status}}",
        )
        .size(6, 8),
        Panel::lines(
            "Time of a request",
            Seconds,
            "Half, 19 in 20, and 99 in 100 of the requests were faster.",
        )
        .query(quantile("0.5"), "p50")
        .query(quantile("0.95"), "p95")
        .query(quantile("0.99"), "p99")
        .alerts(&["VdiAgentScrapeSlow"])
        .size(6, 8),
        Panel::lines("Errors and refusals", Ratio, "Part of the requests that were answered with an error of the agent, and that were refused.")
            .query(
                format!(r#"(sum(rate(vdi_agent_http_requests_total{{status=~"5..", {NODES}}}[$__rate_interval])) or vector(0)) / (sum(rate(vdi_agent_http_requests_total{{{NODES}}}[$__rate_interval])) > 0)"#),
                "errors",
            )
            .query(
                format!(r#"(sum(rate(vdi_agent_http_requests_total{{status=~"401|403", {NODES}}}[$__rate_interval])) or vector(0)) / (sum(rate(vdi_agent_http_requests_total{{{NODES}}}[$__rate_interval])) > 0)"#),
                "refused",
            )
            .of_all()
            .alerts(&["VdiAgentHttpErrors", "VdiAgentAuthFailures"])
            .size(6, 8),
        Panel::lines("Cache hits", Ratio, "Part of what was wanted that was in a cache.")
            .query(
                format!("sum by (cache) (rate(vdi_agent_cache_hits_total{{{NODES}}}[$__rate_interval])) / (sum by (cache) (rate(vdi_agent_cache_hits_total{{{NODES}}}[$__rate_interval])) + sum by (cache) (rate(vdi_agent_cache_misses_total{{{NODES}}}[$__rate_interval])) > 0)"),
                "{{cache}}",
            )
            .of_all()
            .size(6, 8),
    ]
}

pub(super) fn cost() -> Vec<Panel> {
    let spread = |panel: Panel, query: &str| {
        panel
            .query(format!("avg({query})"), "mean")
            .query(format!("max({query})"), "highest")
    };
    vec![
        spread(
            Panel::lines("CPUs of an agent", Count, "CPU time of an agent for each second: the mean, and the highest."),
            &format!("instance:vdi_agent_cpu_seconds:rate5m{{{NODES}}}"),
        )
        .alerts(&["VdiAgentCpuHigh"])
        .size(6, 8),
        spread(
            Panel::lines("Memory of an agent", Bytes, "Resident memory of an agent, and kernel memory of its maps.")
                .query(format!("max(vdi_agent_map_memory_bytes{{{NODES}}})"), "maps, highest"),
            &format!(r#"process_resident_memory_bytes{{job="sessionscope", {NODES}}}"#),
        )
        .alerts(&["VdiAgentMemoryHigh"])
        .size(6, 8),
        Panel::lines("Threads, tasks and files", Count, "The most that an agent has of each.")
            .query(format!(r#"max(process_threads{{job="sessionscope", {NODES}}})"#), "threads")
            .query(format!("max(vdi_agent_runtime_tasks{{{NODES}}})"), "tasks")
            .query(format!(r#"max(process_open_fds{{job="sessionscope", {NODES}}})"#), "open files")
            .query(format!("max(vdi_agent_http_connections{{{NODES}}})"), "connections")
            .size(6, 8),
        spread(
            Panel::lines("Series of an agent", Count, "Series that an agent shows: the mean, and the highest."),
            &format!("vdi_agent_series{{{NODES}}}"),
        )
        .alerts(&["VdiAgentSeriesNearLimit"])
        .size(6, 8),
        Panel::lines(
            "Time of a scrape, p99",
            Seconds,
            "99 in 100 scrapes were answered faster.",
        )
        .query(
            format!("histogram_quantile(0.99, sum by (le) (rate(vdi_agent_scrape_duration_seconds_bucket{{{NODES}}}[$__rate_interval])))"),
            "p99",
        )
        .alerts(&["VdiAgentScrapeSlow"]),
        Panel::lines(
            "Until a session is measured, p95",
            Seconds,
            "Time from the making of a session's cgroup until it is measured: 19 in 20 were faster.",
        )
        .query(
            format!("histogram_quantile(0.95, sum by (le) (rate(vdi_agent_session_adoption_seconds_bucket{{{NODES}}}[5m])))"),
            "p95",
        ),
        Panel::lines(
            "Traces",
            PerSecond,
            "Spans by what became of them, and how often the collector did not take them.",
        )
        .query(
            format!("sum by (result) (rate(vdi_agent_trace_spans_total{{{NODES}}}[$__rate_interval]))"),
            "{{result}}",
        )
        .query(
            format!("sum(rate(vdi_agent_trace_export_failures_total{{{NODES}}}[$__rate_interval]))"),
            "not taken",
        )
        .nothing("no traces")
        .alerts(&["VdiAgentSpansDropped"]),
    ]
}

pub(super) fn driver() -> Vec<Panel> {
    vec![
        Panel::lines("Calls of the driver, mean", Seconds, "Time that calls of NVIDIA's library take.")
            .query(
                format!("sum by (call) (rate(vdi_agent_gpu_call_seconds_sum{{{NODES}}}[$__rate_interval])) / (sum by (call) (rate(vdi_agent_gpu_call_seconds_count{{{NODES}}}[$__rate_interval])) > 0)"),
                "{{call}}",
            )
            .nothing("no driver"),
        Panel::lines("Calls of the driver that failed", PerSecond, "What a GPU does not support is no error.")
            .query(
                format!("sum by (call, error) (rate(vdi_agent_gpu_call_errors_total{{{NODES}}}[$__rate_interval]))"),
                "{{call}} {{error}}",
            )
            .nothing("none")
            .alerts(&["VdiGpuDriverDown", "VdiGpuSampleStale"]),
        Panel::bars("Running for", Age, "Time since an agent started. The ten youngest.")
            .query(
                format!(r#"bottomk(10, time() - process_start_time_seconds{{job="sessionscope", {NODES}}})"#),
                "{{cluster}} {{instance}}",
            )
            .links(&[Link::Node])
            .alerts(&["VdiAgentsRestarting"]),
        Panel::table(
            "Versions",
            &[Label::Version, Label::Kernel, Label::TaskState],
            "Versions of agents and kernels, and where the state of threads is kept.",
        )
        .column(
            format!("count by (version, kernel, task_state) (vdi_agent_build_info{{{NODES}}})"),
            "Nodes",
            Count,
            Plain,
        )
        .alerts(&["VdiAgentVersions"])
        .size(8, 8),
        Panel::table(
            "Configurations",
            &[Label::Hash],
            "Configurations in effect. More than one is a change that has not come everywhere.",
        )
        .column(
            format!("count by (hash) (vdi_agent_config_info{{{NODES}}})"),
            "Nodes",
            Count,
            Plain,
        )
        .alerts(&["VdiAgentReloadFailed"])
        .size(8, 8),
        Panel::table(
            "Certificates",
            &[Label::File],
            "Time until the first certificate of a file expires, on the node where it is least.",
        )
        .column(
            format!("min by (file) (vdi_agent_certificate_expiry_timestamp_seconds{{{NODES}}}) - time()"),
            "Expires in",
            Age,
            Below(1_209_600.0, 259_200.0),
        )
        .nothing("no certificate")
        .alerts(&["VdiAgentCertificateExpires"])
        .size(8, 8),
    ]
}
