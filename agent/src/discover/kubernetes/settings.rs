//! What can be set of the Kubernetes API.

use std::path::PathBuf;

use super::operators;
use crate::{
    discover::{selector::Selector, settings::Watch},
    setting::{Field, Key, Table, form},
};

/// The Kubernetes API.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Whether it is asked.
    pub watch: Watch,
    /// How to reach it from outside; `None` uses the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// Folder of the service account.
    pub service_account: PathBuf,
    /// Name of the node; `None` asks the environment.
    pub node: Option<String>,
    /// Which pods are sessions: one of these; empty for all.
    pub sessions: Vec<Selector>,
    /// Annotations and labels with a session's name.
    pub names: Vec<String>,
    /// Those with its template.
    pub templates: Vec<String>,
    /// Those with its user.
    pub users: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            watch: Watch::Auto,
            kubeconfig: None,
            service_account: PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount"),
            node: None,
            sessions: operators::selectors(),
            names: texts(operators::NAMES),
            templates: texts(operators::TEMPLATES),
            users: texts(operators::USERS),
        }
    }
}

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// The table `kubernetes`.
pub const TABLE: Table<Settings> = Table {
    name: "kubernetes",
    about: "Names, templates and users of pods, from the Kubernetes API.",
    keys: &[
        Key {
            name: "watch",
            flag: None,
            doc: "Ask the Kubernetes API for the pods of this node. auto: where there is a service account or a kubeconfig.",
            field: Field::Text {
                form: "`auto`, `on` or `off`",
                get: |settings| Some(settings.watch.name().to_owned()),
                set: |settings, text| {
                    settings.watch = form::choose(text)?;
                    Ok(())
                },
            },
        },
        Key {
            name: "kubeconfig",
            flag: None,
            doc: "How to reach the API from outside the cluster. Without it, the service account of the pod.",
            field: Field::Text {
                form: "absolute path",
                get: |settings| form::optional_path_text(settings.kubeconfig.as_ref()),
                set: |settings, text| {
                    settings.kubeconfig = Some(form::absolute(text)?);
                    Ok(())
                },
            },
        },
        Key {
            name: "service_account",
            flag: None,
            doc: "Folder with the token and the certificate authority of the pod's service account.",
            field: Field::Text {
                form: "absolute path",
                get: |settings| Some(form::path_text(&settings.service_account)),
                set: |settings, text| {
                    settings.service_account = form::absolute(text)?;
                    Ok(())
                },
            },
        },
        Key {
            name: "node",
            flag: None,
            doc: "Name of this node. Without it, the environment variable NODE_NAME, which the manifests set, otherwise the host name.",
            field: Field::Text {
                form: "name",
                get: |settings| settings.node.clone(),
                set: |settings, text| {
                    settings.node = Some(text.to_owned());
                    Ok(())
                },
            },
        },
        Key {
            name: "sessions",
            flag: None,
            doc: "Label selectors, as of kubectl: a pod that one of them selects is a session, and no other is. With none, every pod is one.",
            field: Field::List {
                form: "selectors",
                get: |settings| settings.sessions.iter().map(ToString::to_string).collect(),
                set: |settings, selectors| {
                    let selectors = selectors.iter().map(|text| text.parse::<Selector>());
                    settings.sessions = selectors.collect::<Result<_, _>>()?;
                    Ok(())
                },
            },
        },
        Key {
            name: "names",
            flag: None,
            doc: "Annotations or labels of a pod with the name of its session, the first that is there. Otherwise the pod's name.",
            field: Field::List {
                form: "labels or annotations",
                get: |settings| settings.names.clone(),
                set: |settings, names| {
                    settings.names = names;
                    Ok(())
                },
            },
        },
        Key {
            name: "templates",
            flag: None,
            doc: "The same for the template. Otherwise the image of its main container, without registry and tag.",
            field: Field::List {
                form: "labels or annotations",
                get: |settings| settings.templates.clone(),
                set: |settings, names| {
                    settings.templates = names;
                    Ok(())
                },
            },
        },
        Key {
            name: "users",
            flag: None,
            doc: "The same for who uses it (sessions.user).",
            field: Field::List {
                form: "labels or annotations",
                get: |settings| settings.users.clone(),
                set: |settings, names| {
                    settings.users = names;
                    Ok(())
                },
            },
        },
    ],
};
