//! What is chosen at the top of a dashboard, as labels that a query asks for.

/// Of the chosen clusters and environments.
pub(crate) const CLUSTERS: &str = r#"cluster=~"$cluster", environment=~"$environment""#;
/// And namespaces and templates. The recordings of templates know no node.
pub(crate) const TEMPLATES: &str = r#"cluster=~"$cluster", environment=~"$environment", namespace=~"$namespace", template=~"$template""#;
/// And nodes and sessions.
pub(crate) const SESSIONS: &str = r#"cluster=~"$cluster", environment=~"$environment", namespace=~"$namespace", template=~"$template", instance=~"$node", session=~"$session""#;
/// Of the chosen clusters and nodes.
pub(crate) const NODES: &str =
    r#"cluster=~"$cluster", environment=~"$environment", instance=~"$node""#;
/// And GPUs.
pub(crate) const GPUS: &str =
    r#"cluster=~"$cluster", environment=~"$environment", instance=~"$node", gpu=~"$gpu""#;
/// The session that is chosen. Its name may be another's in another namespace or on another node.
pub(crate) const SESSION: &str = r#"cluster=~"$cluster", environment=~"$environment", namespace=~"$namespace", instance=~"$node", session=~"$session""#;
/// The chosen sources of sessions, of chosen nodes.
pub(crate) const SOURCES: &str =
    r#"cluster=~"$cluster", environment=~"$environment", instance=~"$node", source=~"$source""#;
/// The labels by which a session is one and no other.
pub(crate) const EACH: &str = "cluster, environment, instance, namespace, session";
