//! How the API is reached: the pod's service account, or a kubeconfig.

use std::{env, fs, path::Path};

use kube::{
    Client, Config,
    config::{
        AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster,
        NamedContext,
    },
};

use super::Settings;
use crate::discover::settings::Watch;

/// What everything is called in the kubeconfig of a service account.
const NAME: &str = "sessionscope";

/// Why there is no API to ask; `None` where there is one, or is to be.
pub fn absent(settings: &Settings) -> Option<String> {
    let signs = settings.kubeconfig.is_some() || token(&settings.service_account).is_file();
    (settings.watch == Watch::Auto && !signs).then(|| {
        format!(
            "no service account in {} and kubernetes.kubeconfig is not set",
            settings.service_account.display()
        )
    })
}

/// The name of this node, as Kubernetes knows it.
pub(super) fn node(settings: &Settings) -> Result<String, String> {
    let set = settings.node.clone();
    let environment = || env::var("NODE_NAME").ok().filter(|name| !name.is_empty());
    let host = || fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = set.or_else(environment).or_else(host).unwrap_or_default();
    match name.trim() {
        "" => Err("the node has no name: set kubernetes.node".to_owned()),
        name => Ok(name.to_owned()),
    }
}

/// A client, which reads the token anew as it is renewed.
pub(super) async fn client(settings: &Settings) -> Result<Client, String> {
    let kubeconfig = match &settings.kubeconfig {
        Some(path) => Kubeconfig::read_from(path)
            .map_err(|error| format!("kubernetes.kubeconfig {}: {error}", path.display()))?,
        None => of_service_account(&settings.service_account)?,
    };
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let config = config.map_err(|error| format!("no usable credentials: {error}"))?;
    Client::try_from(config).map_err(|error| format!("no client: {error}"))
}

/// In a pod: the API's address is in the environment, the credentials in a folder.
fn of_service_account(folder: &Path) -> Result<Kubeconfig, String> {
    let variable = |name: &str| {
        let value = env::var(name).ok().filter(|value| !value.is_empty());
        value.ok_or_else(|| format!("{name} is not set: not in a pod? set kubernetes.kubeconfig"))
    };
    let host = variable("KUBERNETES_SERVICE_HOST")?;
    let port = variable("KUBERNETES_SERVICE_PORT")?;
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host
    };
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let token = token(folder);
    if !token.is_file() {
        return Err(format!(
            "no token at {}: automountServiceAccountToken is false?",
            token.display()
        ));
    }
    Ok(Kubeconfig {
        clusters: vec![NamedCluster {
            name: NAME.to_owned(),
            cluster: Some(Cluster {
                server: Some(format!("https://{host}:{port}")),
                certificate_authority: Some(text(&folder.join("ca.crt"))),
                ..Cluster::default()
            }),
        }],
        auth_infos: vec![NamedAuthInfo {
            name: NAME.to_owned(),
            auth_info: Some(AuthInfo {
                token_file: Some(text(&token)),
                ..AuthInfo::default()
            }),
        }],
        contexts: vec![NamedContext {
            name: NAME.to_owned(),
            context: Some(Context {
                cluster: NAME.to_owned(),
                user: Some(NAME.to_owned()),
                ..Context::default()
            }),
        }],
        current_context: Some(NAME.to_owned()),
        ..Kubeconfig::default()
    })
}

fn token(folder: &Path) -> std::path::PathBuf {
    folder.join("token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_signs_of_a_cluster_there_is_a_reason_unless_it_is_told_to_be_there() {
        let mut settings = Settings {
            service_account: "/nonexistent".into(),
            ..Settings::default()
        };
        let reason = absent(&settings).unwrap();
        assert!(
            reason.starts_with("no service account in /nonexistent"),
            "{reason}"
        );
        settings.watch = Watch::On;
        assert_eq!(absent(&settings), None);
        settings.watch = Watch::Auto;
        settings.kubeconfig = Some("/nonexistent/config".into());
        assert_eq!(absent(&settings), None);
    }
}
