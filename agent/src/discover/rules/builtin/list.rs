//! The list of built-in rules, in the order in which they are asked.

use super::{Builtin, Decoding, Effect, Example};

const fn container(path: &'static str) -> Example {
    Example {
        path,
        session: "6d1f0a7c25b3",
        pod: "",
        container: id!(),
    }
}

const fn named(path: &'static str, session: &'static str) -> Example {
    Example {
        path,
        session,
        pod: "",
        container: "",
    }
}

const fn pod(path: &'static str) -> Example {
    Example {
        path,
        session: "pod-0f7c1d9e-5b64-4c7e-9d35-2f1a8e6b7c40",
        pod: "0f7c1d9e-5b64-4c7e-9d35-2f1a8e6b7c40",
        container: "",
    }
}

const fn part(path: &'static str) -> Example {
    named(path, "")
}

/// What most rules have in common.
const SESSION: Builtin = Builtin {
    name: "",
    pattern: "",
    about: "",
    session: "",
    runtime: "",
    effect: Effect::Session,
    decoding: Decoding::Plain,
    examples: &[],
};

/// All of them, in the order in which they are asked.
pub const BUILTIN: &[Builtin] = &[
    Builtin {
        name: "kubernetes-container",
        pattern: concat!(pod_slice!(), "/"),
        about: "everything below a pod's slice: a part of the pod",
        runtime: "kubernetes",
        effect: Effect::Part,
        examples: &[
            part(concat!(
                "/kubepods.slice/kubepods-burstable.slice/",
                "kubepods-burstable-pod0f7c1d9e_5b64_4c7e_9d35_2f1a8e6b7c40.slice/",
                "cri-containerd-",
                id!(),
                ".scope"
            )),
            part(concat!(
                "/kubepods.slice/kubepods-pod0f7c1d9e_5b64_4c7e_9d35_2f1a8e6b7c40.slice/crio-",
                id!(),
                ".scope/container"
            )),
        ],
        ..SESSION
    },
    Builtin {
        name: "kubernetes-container-cgroupfs",
        pattern: concat!(pod_directory!(), "/"),
        about: "everything below a pod's directory: a part of the pod",
        runtime: "kubernetes",
        effect: Effect::Part,
        examples: &[part(concat!(
            "/kubepods/besteffort/pod0f7c1d9e-5b64-4c7e-9d35-2f1a8e6b7c40/",
            id!()
        ))],
        ..SESSION
    },
    Builtin {
        name: "kubernetes-pod",
        pattern: concat!(pod_slice!(), "$"),
        about: "a pod, kubelet with the systemd driver, at any depth (kind, a kubelet with a cgroup root)",
        session: "pod-$pod",
        runtime: "kubernetes",
        decoding: Decoding::PodUid,
        examples: &[
            pod(concat!(
                "/kubepods.slice/kubepods-burstable.slice/",
                "kubepods-burstable-pod0f7c1d9e_5b64_4c7e_9d35_2f1a8e6b7c40.slice"
            )),
            pod("/kubepods.slice/kubepods-pod0f7c1d9e_5b64_4c7e_9d35_2f1a8e6b7c40.slice"),
            pod(concat!(
                "/system.slice/docker-",
                id!(),
                ".scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/",
                "kubelet-kubepods-besteffort-pod0f7c1d9e_5b64_4c7e_9d35_2f1a8e6b7c40.slice"
            )),
        ],
        ..SESSION
    },
    Builtin {
        name: "kubernetes-pod-cgroupfs",
        pattern: concat!(pod_directory!(), "$"),
        about: "a pod, kubelet with the cgroupfs driver",
        session: "pod-$pod",
        runtime: "kubernetes",
        examples: &[
            pod("/kubepods/burstable/pod0f7c1d9e-5b64-4c7e-9d35-2f1a8e6b7c40"),
            pod("/kubepods/pod0f7c1d9e-5b64-4c7e-9d35-2f1a8e6b7c40"),
        ],
        ..SESSION
    },
    Builtin {
        name: "containerd",
        pattern: concat!(
            units!(),
            r"/(?:cri-containerd|nerdctl)-",
            container!(),
            r"\.scope$"
        ),
        about: "a containerd container outside pods: CRI without a kubelet, nerdctl",
        runtime: "containerd",
        examples: &[
            container(concat!("/system.slice/cri-containerd-", id!(), ".scope")),
            container(concat!("/system.slice/nerdctl-", id!(), ".scope")),
        ],
        ..SESSION
    },
    Builtin {
        name: "containerd-cgroupfs",
        pattern: concat!(r"^/(?:default|k8s\.io)/", container!(), "$"),
        about: "a containerd container with the cgroupfs driver, by its namespace",
        runtime: "containerd",
        examples: &[container(concat!("/default/", id!()))],
        ..SESSION
    },
    Builtin {
        name: "containerd-named",
        pattern: r"^/(?:default|k8s\.io)/(?<session>[^/]+)$",
        about: "a containerd container with a name instead of an id (`ctr run`)",
        runtime: "containerd",
        examples: &[named("/default/blender", "blender")],
        ..SESSION
    },
    Builtin {
        name: "cri-o",
        pattern: concat!(units!(), "/crio-", container!(), r"\.scope$"),
        about: "a CRI-O container outside pods; its monitor (`crio-conmon-…`) is none",
        runtime: "cri-o",
        examples: &[container(concat!("/system.slice/crio-", id!(), ".scope"))],
        ..SESSION
    },
    Builtin {
        name: "docker",
        pattern: concat!(units!(), "/docker-", container!(), r"\.scope$"),
        about: "a Docker container, systemd driver, rootful or rootless",
        runtime: "docker",
        examples: &[
            container(concat!("/system.slice/docker-", id!(), ".scope")),
            container(concat!(
                "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-",
                id!(),
                ".scope"
            )),
        ],
        ..SESSION
    },
    Builtin {
        name: "docker-cgroupfs",
        pattern: concat!("^/docker/", container!(), "$"),
        about: "a Docker container, cgroupfs driver",
        runtime: "docker",
        examples: &[container(concat!("/docker/", id!()))],
        ..SESSION
    },
    Builtin {
        name: "podman",
        pattern: concat!(
            units!(),
            "/libpod-(?:payload-)?",
            container!(),
            r"(?:\.scope)?$"
        ),
        about: "a Podman container, rootful, rootless or split (Quadlet); its monitor \
                (`libpod-conmon-…`) is none",
        runtime: "podman",
        examples: &[
            container(concat!("/machine.slice/libpod-", id!(), ".scope")),
            container(concat!(
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-",
                id!(),
                ".scope"
            )),
            container(concat!("/system.slice/desk.service/libpod-payload-", id!())),
        ],
        ..SESSION
    },
    Builtin {
        name: "podman-cgroupfs",
        pattern: concat!("^/libpod_parent/libpod-", container!(), "$"),
        about: "a Podman container, cgroupfs driver",
        runtime: "podman",
        examples: &[container(concat!("/libpod_parent/libpod-", id!()))],
        ..SESSION
    },
    Builtin {
        name: "lxc",
        pattern: r"^(?:/[^/]+\.(?:slice|service|scope))*/(?:lxc/|lxc\.payload[/.])(?<session>[^/]+)$",
        about: "an LXC, LXD, Incus or Proxmox container; its monitor (`lxc.monitor…`) is none",
        runtime: "lxc",
        examples: &[
            named("/lxc/101", "101"),
            named("/lxc.payload.desk-4", "desk-4"),
            named("/lxc.payload/desk-4", "desk-4"),
        ],
        ..SESSION
    },
    Builtin {
        name: "libvirt",
        pattern: concat!(
            r"^/machine\.slice/(?:[^/]+\.slice/)*",
            r"machine-(?:qemu|lxc|ch)\\x2d[0-9]+\\x2d(?<session>[^/]+)\.scope$"
        ),
        about: "a libvirt domain registered with machined",
        runtime: "libvirt",
        decoding: Decoding::SystemdUnit,
        examples: &[
            named(r"/machine.slice/machine-qemu\x2d1\x2dwin11.scope", "win11"),
            named(
                r"/machine.slice/machine-qemu\x2d12\x2dcad\x2dada.scope",
                "cad-ada",
            ),
        ],
        ..SESSION
    },
    Builtin {
        name: "libvirt-cgroupfs",
        pattern: r"^/machine/(?:qemu|lxc|ch)-[0-9]+-(?<session>[^/]+)\.libvirt-(?:qemu|lxc|ch)$",
        about: "a libvirt domain without systemd",
        runtime: "libvirt",
        examples: &[named("/machine/qemu-3-win11.libvirt-qemu", "win11")],
        ..SESSION
    },
    Builtin {
        name: "systemd-nspawn",
        pattern: concat!(
            r"^/machine\.slice/(?:[^/]+\.slice/)*",
            r"(?:machine-(?<scope>[^/]+)\.scope|systemd-nspawn@(?<unit>[^/]+)\.service)$"
        ),
        about: "a machine of systemd-nspawn, by hand or as a service",
        session: "$scope$unit",
        runtime: "systemd-nspawn",
        decoding: Decoding::SystemdUnit,
        examples: &[
            named("/machine.slice/machine-debian.scope", "debian"),
            named(
                r"/machine.slice/systemd-nspawn@build\x2dbox.service",
                "build-box",
            ),
        ],
        ..SESSION
    },
    Builtin {
        name: "logind-session",
        pattern: r"^/user\.slice/user-[0-9]+\.slice/(?<session>session-[^/]+)\.scope$",
        about: "a login session of logind",
        runtime: "logind",
        examples: &[
            named("/user.slice/user-1000.slice/session-3.scope", "session-3"),
            named("/user.slice/user-1000.slice/session-c1.scope", "session-c1"),
        ],
        ..SESSION
    },
    Builtin {
        name: "logind-user",
        pattern: r"^/user\.slice/user-(?<uid>[0-9]+)\.slice/user@[0-9]+\.service$",
        about: "a user's service manager, in which desktops run their applications",
        session: "user-$uid",
        runtime: "logind",
        examples: &[named(
            "/user.slice/user-1000.slice/user@1000.service",
            "user-1000",
        )],
        ..SESSION
    },
];
