//! How common operators of desktops and notebooks mark the pods of their sessions: defaults of the table
//! `kubernetes`.

use crate::discover::selector::Selector;

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
pub(super) const NAMES: &[&str] = &[
    "sessionscope/session",
    "vdi.kasm.io/session",
    "vm.kubevirt.io/name",
    "notebook-name",
];

/// Those with its template.
pub(super) const TEMPLATES: &[&str] = &[
    "sessionscope/template",
    "vdi.kasm.io/template",
    "vm.kubevirt.io/template",
];

/// Those with its user.
pub(super) const USERS: &[&str] = &[
    "sessionscope/user",
    "vdi.kasm.io/user",
    "hub.jupyter.org/username",
    "com.coder.user.username",
];

/// [`SELECTORS`], parsed.
pub(super) fn selectors() -> Vec<Selector> {
    let parsed = SELECTORS.iter().map(|text| text.parse());
    parsed.collect::<Result<_, _>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_selector_is_one() {
        assert_eq!(selectors().len(), SELECTORS.len());
    }
}
