//! The Kubernetes API: which pods of this node are sessions, what they are called, and what became of them.

mod selector;

pub use selector::Selector;

/// Labels by which common operators mark the pods of sessions.
const SELECTORS: [&str; 7] = [
    // Whoever else wants a pod measured.
    "sessionscope/session",
    // JupyterHub, before and since KubeSpawner 7.
    "component=singleuser-server",
    "app.kubernetes.io/component=singleuser-server",
    // Kubeflow notebooks.
    "notebook-name",
    // KubeVirt machines.
    "kubevirt.io=virt-launcher",
    // Coder workspaces.
    "com.coder.workspace.id",
    // Operators of Kasm desktops.
    "vdi.kasm.io/session",
];

/// Annotations and labels with the name of a session, where that is unique in its namespace.
pub const NAMES: &[&str] = &[
    "sessionscope/session",
    "vdi.kasm.io/session",
    "vm.kubevirt.io/name",
    "notebook-name",
];

/// Those with its template.
pub const TEMPLATES: &[&str] = &[
    "sessionscope/template",
    "vdi.kasm.io/template",
    "vm.kubevirt.io/template",
];

/// Those with its user.
pub const USERS: &[&str] = &[
    "sessionscope/user",
    "vdi.kasm.io/user",
    "hub.jupyter.org/username",
    "com.coder.user.username",
];

/// The selectors of [`SELECTORS`].
pub fn default_selectors() -> Vec<Selector> {
    let parsed = SELECTORS.iter().map(|text| text.parse());
    parsed.collect::<Result<_, _>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_selector_is_one() {
        assert_eq!(default_selectors().len(), SELECTORS.len());
    }
}
