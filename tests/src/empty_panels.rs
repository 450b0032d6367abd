//! Panels of the dashboards that have no data, or not all of it, in the test that asks a real Prometheus, and why.

/// Reasons, and the panels of which one holds.
pub const EMPTY_PANELS: [(&str, &[&str]); 14] = [
    (
        "where v1 has the memory controller, the v2 hierarchy has no memory",
        &[
            r#"templates.json: "Templates""#,
            r#"templates.json: "Memory""#,
            r#"sessions.json: "Memory""#,
            r#"session.json: "Memory, of the limit""#,
            r#"session.json: "Memory by kind""#,
            r#"node.json: "Who takes the CPU, and who waits for it""#,
            r#"node.json: "Most memory""#,
            r#"node.json: "Memory of sessions""#,
        ],
    ),
    (
        "where v1 has the io controller, the v2 hierarchy has no requests",
        &[
            r#"sessions.json: "Block I/O""#,
            r#"session.json: "Time of block I/O, mean""#,
            r#"session.json: "Block I/O""#,
            r#"node.json: "Most block I/O""#,
        ],
    ),
    (
        "nobody is throttled where v1 has the CPU controller",
        &[r#"session.json: "CPU time, and time lost""#],
    ),
    (
        "no session has a limit of CPUs or of processes",
        &[
            r#"session.json: "CPUs in use, and the limit""#,
            r#"session.json: "Throttled periods""#,
            r#"session.json: "Threads, of the limit""#,
            r#"session.json: "Forks refused""#,
        ],
    ),
    (
        "no session reclaims memory, or is killed for want of it",
        &[
            r#"session.json: "Faults, stalls and kills""#,
            r#"node.json: "Most time reclaiming memory""#,
            r#"node.json: "Killed for want of memory, last hour""#,
        ],
    ),
    (
        "nobody is slow, full, held down, or near a limit",
        &[
            r#"slo.json: "Templates by slow starts""#,
            r#"slo.json: "Nodes by stutter, last day""#,
            r#"sessions.json: "Slow to reach""#,
            r#"network.json: "Slow to reach""#,
            r#"streams.json: "Slower than a frame""#,
            r#"gpus.json: "GPUs held down""#,
            r#"gpus.json: "Held down by""#,
            r#"gpus.json: "GPUs full""#,
            r#"capacity.json: "Agents near their limit""#,
            r#"agents.json: "Nearest to a limit""#,
        ],
    ),
    (
        "no GPU has a fault but the Xid, which names no session",
        &[
            r#"gpus.json: "What the driver wants done""#,
            r#"gpus.json: "GPUs to be reset""#,
            r#"gpus.json: "Rows replaced""#,
            r#"gpus.json: "Packets sent again""#,
            r#"gpus.json: "Memory errors of the last day""#,
            r#"session.json: "Xid errors of the last day""#,
            r#"agents.json: "Calls of the driver that failed""#,
        ],
    ),
    (
        "the GPU has no MIG, no sensor in its memory, and captures no frames",
        &[
            r#"gpus.json: "Memory of MIG instances""#,
            r#"gpus.json: "Temperature""#,
            r#"session.json: "Frames""#,
            r#"session.json: "Time of a frame""#,
            r#"streams.json: "Time of a frame""#,
            r#"streams.json: "Streams, slowest first""#,
            r#"streams.json: "Frames encoded""#,
            r#"streams.json: "Frames captured and encoded""#,
        ],
    ),
    (
        "nothing is lost on loopback, and nobody connects to elsewhere or sends datagrams",
        &[
            r#"session.json: "Lost on the way""#,
            r#"network.json: "Datagrams""#,
            r#"network.json: "Dropped datagrams""#,
            r#"network.json: "Time to connect""#,
            r#"network.json: "Most segments sent again""#,
            r#"network.json: "Most failed connections""#,
            r#"network.json: "Failed connections""#,
            r#"network.json: "Connections opened and failed""#,
        ],
    ),
    (
        "no session has a display, its client sends nothing, and nobody logs on",
        &[
            r#"session.json: "Experience""#,
            r#"session.json: "Response""#,
            r#"session.json: "Unanswered inputs""#,
            r#"session.json: "Hung applications""#,
            r#"session.json: "Late input""#,
            r#"session.json: "Cut off, last hour""#,
            r#"session.json: "Parts of the experience""#,
            r#"session.json: "Time lost, last hour""#,
            r#"session.json: "Input delay of applications""#,
            r#"session.json: "Response to input""#,
            r#"session.json: "Clients gone and back""#,
            r#"sessions.json: "Sessions that feel worst""#,
            r#"sessions.json: "Slowest to respond""#,
            r#"sessions.json: "Hung applications""#,
            r#"fleet.json: "Input answered late or not at all""#,
            r#"fleet.json: "Templates answered late or not at all""#,
            r#"fleet.json: "Logon by phase, slowest template""#,
            r#"fleet.json: "Clients gone, each minute""#,
            r#"fleet.json: "Hung applications""#,
        ],
    ),
    (
        "it takes an hour without use",
        &[r#"capacity.json: "Longest not used""#],
    ),
    (
        "it takes days",
        &[
            r#"capacity.json: "Very old sessions""#,
            r#"capacity.json: "Most sessions of a week""#,
            r#"capacity.json: "Growth in a week""#,
        ],
    ),
    (
        "both sessions use the only GPU",
        &[
            r#"capacity.json: "Which GPUs have no session""#,
            r#"capacity.json: "GPUs without a session""#,
        ],
    ),
    (
        "there is no platform, no collector, no certificate, and room for all series",
        &[
            r#"agents.json: "Sources that answer""#,
            r#"agents.json: "Traces""#,
            r#"agents.json: "Certificates""#,
            r#"agents.json: "Left out""#,
        ],
    ),
];
