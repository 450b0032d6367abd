//! Pods as common operators make them, and what an API server writes of their lives.

use std::{
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use crate::cgroup::{Cgroup, Tree};

/// A time as the API writes it: whole seconds.
pub fn at(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// A pod of a node. Its object is what the API server has of it.
#[derive(Clone, Debug)]
pub struct Pod {
    object: Value,
}

/// A pod of the cluster itself, which is no session.
pub fn service(node: &str, name: &str) -> Pod {
    let labels = json!({"k8s-app": "kube-proxy", "controller-revision-hash": "5d6c6b7f9", "component": "proxy"});
    Pod::new(
        node,
        "kube-system",
        name,
        &labels,
        "registry.k8s.io/kube-proxy:v1.35.0",
    )
}

impl Pod {
    /// Just created for a node, by now.
    fn new(node: &str, namespace: &str, name: &str, labels: &Value, image: &str) -> Self {
        static PODS: AtomicU32 = AtomicU32::new(1);
        let number = PODS.fetch_add(1, Ordering::Relaxed);
        let uid = format!("{:08x}-5b64-4c7e-9d35-{number:012x}", process::id());
        let now = at(SystemTime::now());
        let object = json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {
                "name": name, "namespace": namespace, "uid": uid, "resourceVersion": "",
                "creationTimestamp": now, "labels": labels, "annotations": {},
                "managedFields": [{"manager": "kubelet", "operation": "Update", "subresource": "status"}],
            },
            "spec": {
                "nodeName": node, "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
                "terminationGracePeriodSeconds": 30, "serviceAccountName": "default",
                "containers": [{
                    "name": "main", "image": image, "imagePullPolicy": "IfNotPresent",
                    "resources": {"limits": {"nvidia.com/gpu": "1"}, "requests": {"cpu": "1"}},
                }],
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            },
            "status": {
                "phase": "Pending", "qosClass": "Burstable",
                "conditions": [condition("PodScheduled", "True", SystemTime::now())],
            },
        });
        Self { object }
    }

    /// A notebook of JupyterHub.
    pub fn notebook(node: &str, user: &str) -> Self {
        let labels = json!({
            "app": "jupyterhub", "component": "singleuser-server", "heritage": "jupyterhub", "release": "hub",
            "hub.jupyter.org/network-access-hub": "true", "hub.jupyter.org/servername": "",
            "hub.jupyter.org/username": user.replace('.', "-2e"),
        });
        let name = format!("jupyter-{}", user.replace('.', "-2e"));
        let mut pod = Self::new(
            node,
            "hub",
            &name,
            &labels,
            "quay.io/jupyter/pytorch-notebook:2026-11",
        );
        pod.object["metadata"]["annotations"] = json!({"hub.jupyter.org/username": user});
        pod
    }

    /// A desktop of an operator of Kasm workspaces.
    pub fn desktop(node: &str, session: &str, template: &str, user: &str) -> Self {
        let labels = json!({
            "app.kubernetes.io/managed-by": "kasm-operator", "vdi.kasm.io/session": session,
            "vdi.kasm.io/template": template, "vdi.kasm.io/user": user,
        });
        let name = format!("vdi-{session}");
        Self::new(node, "vdi", &name, &labels, "kasmweb/desktop:1.18.0")
    }

    /// A machine of `KubeVirt`.
    pub fn machine(node: &str, name: &str) -> Self {
        let labels = json!({
            "kubevirt.io": "virt-launcher", "kubevirt.io/domain": name, "vm.kubevirt.io/name": name,
            "vm.kubevirt.io/template": "windows11-desktop-large",
        });
        let pod_name = format!("virt-launcher-{name}-8dzl7");
        let mut pod = Self::new(
            node,
            "machines",
            &pod_name,
            &labels,
            "quay.io/kubevirt/virt-launcher:v1.7.0",
        );
        pod.object["metadata"]["annotations"] = json!({
            "kubectl.kubernetes.io/default-container": "compute", "kubevirt.io/domain": name,
        });
        pod.object["spec"]["containers"][0]["name"] = json!("compute");
        pod
    }

    /// A desktop of Selkies as a `StatefulSet` of one's own, marked with the labels of the agent.
    pub fn stream(node: &str, name: &str) -> Self {
        let labels = json!({
            "app": "egl-desktop", "statefulset.kubernetes.io/pod-name": format!("{name}-0"),
            "sessionscope/session": "true", "sessionscope/template": "egl-desktop",
        });
        Self::new(
            node,
            "streams",
            &format!("{name}-0"),
            &labels,
            "ghcr.io/selkies-project/nvidia-egl-desktop:24.04",
        )
    }

    /// The object.
    pub fn object(&self) -> Value {
        self.object.clone()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"]
            .as_str()
            .expect("a pod has a name")
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        let namespace = self.object["metadata"]["namespace"].as_str();
        namespace.expect("a pod has a namespace")
    }

    /// Its uid.
    pub fn uid(&self) -> &str {
        self.object["metadata"]["uid"]
            .as_str()
            .expect("a pod has a uid")
    }

    /// The same pod with other labels.
    #[must_use]
    pub fn labelled(mut self, label: &str, value: &str) -> Self {
        self.object["metadata"]["labels"][label] = json!(value);
        self
    }

    /// Created some time ago.
    #[must_use]
    pub fn since(mut self, ago: Duration) -> Self {
        let then = SystemTime::now() - ago;
        self.object["metadata"]["creationTimestamp"] = json!(at(then));
        self.object["status"]["conditions"] = json!([condition("PodScheduled", "True", then)]);
        self
    }

    /// With another container beside the main one.
    #[must_use]
    pub fn with_sidecar(mut self) -> Self {
        let sidecar = json!({"name": "sidecar", "image": "envoyproxy/envoy:v1.36"});
        let containers = self.object["spec"]["containers"].as_array_mut();
        containers.expect("containers").push(sidecar);
        self
    }

    /// It never restarts what ends.
    #[must_use]
    pub fn never_restarted(mut self) -> Self {
        self.object["spec"]["restartPolicy"] = json!("Never");
        self
    }

    /// The main container waits, for this reason; the pod has started nothing.
    #[must_use]
    pub fn waiting(mut self, reason: &str) -> Self {
        let state = json!({"waiting": {"reason": reason, "message": "…"}});
        self.set_containers(&state, false, 0);
        self
    }

    /// An init container runs.
    #[must_use]
    pub fn initialising(mut self) -> Self {
        self = self.waiting("PodInitializing");
        let running = json!({"running": {"startedAt": at(SystemTime::now())}});
        self.object["status"]["initContainerStatuses"] =
            json!([container("copy-home", "busybox:1.37", &running, false, 0)]);
        self
    }

    /// All containers run, and are ready or not yet.
    #[must_use]
    pub fn running(mut self, ready: bool) -> Self {
        let running = json!({"running": {"startedAt": at(SystemTime::now())}});
        self.object["status"]["phase"] = json!("Running");
        self.set_containers(&running, ready, 0);
        let changed = if ready {
            SystemTime::now()
        } else {
            SystemTime::now() - Duration::from_secs(5)
        };
        self.set_condition(
            "ContainersReady",
            if ready { "True" } else { "False" },
            changed,
        );
        self
    }

    /// The main container has ended and runs again.
    #[must_use]
    pub fn restarted(self, code: i32, reason: &str) -> Self {
        let mut pod = self.running(true);
        let main = &mut pod.object["status"]["containerStatuses"][0];
        main["restartCount"] = json!(1);
        main["lastState"] = terminated(code, reason);
        pod
    }

    /// All containers have ended for good.
    #[must_use]
    pub fn ended(mut self, phase: &str, code: i32, reason: &str) -> Self {
        self.object["status"]["phase"] = json!(phase);
        self.set_containers(&terminated(code, reason), false, 0);
        self
    }

    /// The kubelet took its place.
    #[must_use]
    pub fn evicted(self) -> Self {
        let mut pod = self.ended("Failed", 137, "Error");
        pod.object["status"]["reason"] = json!("Evicted");
        pod.object["status"]["message"] = json!("The node was low on resource: memory.");
        pod.set_condition("DisruptionTarget", "True", SystemTime::now());
        pod
    }

    /// Its deletion has been asked for, with a grace.
    #[must_use]
    pub fn deleted(mut self, grace: Duration) -> Self {
        let over = SystemTime::now() + grace;
        self.object["metadata"]["deletionTimestamp"] = json!(at(over));
        self.object["metadata"]["deletionGracePeriodSeconds"] = json!(grace.as_secs());
        self
    }

    /// Its containers have ended while it is being deleted.
    #[must_use]
    pub fn stopped(mut self, code: i32) -> Self {
        self.set_containers(&terminated(code, "Error"), false, 0);
        self
    }

    fn set_containers(&mut self, state: &Value, ready: bool, restarts: u32) {
        let containers = self.object["spec"]["containers"].as_array();
        let statuses = containers.expect("containers").iter().map(|one| {
            let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
            container(&text("name"), &text("image"), state, ready, restarts)
        });
        self.object["status"]["containerStatuses"] = statuses.collect();
    }

    fn set_condition(&mut self, kind: &str, value: &str, changed: SystemTime) {
        let conditions = self.object["status"]["conditions"].as_array_mut();
        let conditions = conditions.expect("conditions");
        conditions.retain(|one| one["type"] != kind);
        conditions.push(condition(kind, value, changed));
    }

    /// Makes the cgroup that a kubelet with the systemd driver gives it.
    pub fn cgroup(&self, tree: &Tree) -> Cgroup {
        tree.child(self.path())
    }

    /// Makes the cgroup of a container in it, by a number.
    pub fn container(&self, tree: &Tree, number: u32) -> Cgroup {
        let id = format!("{number:08x}").repeat(8);
        tree.child(format!("{}/cri-containerd-{id}.scope", self.path()))
    }

    fn path(&self) -> String {
        let uid = self.uid().replace('-', "_");
        format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice")
    }
}

fn condition(kind: &str, value: &str, changed: SystemTime) -> Value {
    json!({"type": kind, "status": value, "lastProbeTime": null, "lastTransitionTime": at(changed)})
}

fn terminated(code: i32, reason: &str) -> Value {
    let now = at(SystemTime::now());
    json!({"terminated": {
        "exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now,
        "containerID": "containerd://6d1f0a7c25b3e894",
    }})
}

fn container(name: &str, image: &str, state: &Value, ready: bool, restarts: u32) -> Value {
    json!({
        "name": name, "image": image, "imageID": "", "ready": ready, "started": ready,
        "restartCount": restarts, "state": state, "lastState": {},
    })
}
