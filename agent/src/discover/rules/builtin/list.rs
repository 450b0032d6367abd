//! The list of built-in rules, in the order in which they are asked.

use super::{Builtin, Decoding, Effect, Example, Ground, Standing};

const NONE: Example = Example {
    path: "",
    session: "",
    pod: "",
    container: "",
    machine: "",
};

const fn container(path: &'static str) -> Example {
    Example {
        path,
        session: "6d1f0a7c25b3",
        container: id!(),
        ..NONE
    }
}

const fn named(path: &'static str, session: &'static str) -> Example {
    Example {
        path,
        session,
        ..NONE
    }
}

const fn pod(path: &'static str) -> Example {
    Example {
        path,
        session: "pod-0f7c1d9e-5b64-4c7e-9d35-2f1a8e6b7c40",
        pod: "0f7c1d9e-5b64-4c7e-9d35-2f1a8e6b7c40",
        ..NONE
    }
}

const fn machine(path: &'static str, session: &'static str, machine: &'static str) -> Example {
    Example {
        path,
        session,
        machine,
        ..NONE
    }
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
    ground: Ground::Platform,
    below: Standing::Tenant,
    examples: &[],
};

/// All of them, in the order in which they are asked.
pub const BUILTIN: &[Builtin] = &[
    Builtin {
        name: "kubernetes-pod",
        pattern: concat!(r"^(?:/[^/]+\.slice)*", pod_slice!(), "$"),
        about: "a pod, kubelet with the systemd driver",
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
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/",
                "kubelet-kubepods-besteffort-pod0f7c1d9e_5b64_4c7e_9d35_2f1a8e6b7c40.slice"
            )),
        ],
        ..SESSION
    },
    Builtin {
        name: "kubernetes-pod-cgroupfs",
        pattern: concat!("^", pod_directory!(), "$"),
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
        name: "kubernetes-container-mixed",
        pattern: concat!(units!(), pod_slice!(), ":[^/:]+:[^/]+$"),
        about: "a container of a pod, kubelet with the systemd driver, containerd or CRI-O without",
        session: "pod-$pod",
        runtime: "kubernetes",
        decoding: Decoding::PodUid,
        examples: &[
            pod(concat!(
                "/kubepods-burstable-pod0f7c1d9e_5b64_4c7e_9d35_2f1a8e6b7c40.slice:cri-containerd:",
                id!()
            )),
            pod(concat!(
                "/system.slice/containerd.service/",
                "kubepods-pod0f7c1d9e_5b64_4c7e_9d35_2f1a8e6b7c40.slice:cri-containerd:",
                id!()
            )),
        ],
        ..SESSION
    },
    Builtin {
        name: "kubernetes-pod-elsewhere",
        pattern: concat!("(?:", pod_slice!(), ")$"),
        about: "a pod, kubelet with a cgroup root of its own, systemd driver: if the API names it",
        session: "pod-$pod",
        runtime: "kubernetes",
        decoding: Decoding::PodUid,
        ground: Ground::Named,
        examples: &[pod(
            "/desks/kubepods-pod0f7c1d9e_5b64_4c7e_9d35_2f1a8e6b7c40.slice",
        )],
        ..SESSION
    },
    Builtin {
        name: "kubernetes-pod-elsewhere-cgroupfs",
        pattern: concat!(pod_directory!(), "$"),
        about: "a pod, kubelet with a cgroup root of its own, cgroupfs driver: if the API names it",
        session: "pod-$pod",
        runtime: "kubernetes",
        ground: Ground::Named,
        examples: &[pod(
            "/desks/kubepods/burstable/pod0f7c1d9e-5b64-4c7e-9d35-2f1a8e6b7c40",
        )],
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
        about: "a Docker container, systemd driver",
        runtime: "docker",
        examples: &[container(concat!("/system.slice/docker-", id!(), ".scope"))],
        ..SESSION
    },
    Builtin {
        name: "docker-rootless",
        pattern: concat!(user_units!(), "/docker-", container!(), r"\.scope$"),
        about: "a Docker container that a user runs without root",
        runtime: "docker",
        ground: Ground::User,
        examples: &[container(concat!(
            "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-",
            id!(),
            ".scope"
        ))],
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
        about: "a Podman container, also split (Quadlet); its monitor (`libpod-conmon-…`) is none",
        runtime: "podman",
        examples: &[
            container(concat!("/machine.slice/libpod-", id!(), ".scope")),
            container(concat!("/system.slice/desk.service/libpod-payload-", id!())),
        ],
        ..SESSION
    },
    Builtin {
        name: "podman-rootless",
        pattern: concat!(
            user_units!(),
            "/libpod-(?:payload-)?",
            container!(),
            r"(?:\.scope)?$"
        ),
        about: "a Podman container that a user runs without root",
        runtime: "podman",
        ground: Ground::User,
        examples: &[container(concat!(
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-",
            id!(),
            ".scope"
        ))],
        ..SESSION
    },
    Builtin {
        name: "podman-cgroupfs",
        pattern: concat!(
            "^/libpod_parent/(?:[0-9a-f]{64}/)?libpod-",
            container!(),
            "$"
        ),
        about: "a Podman container, cgroupfs driver, also in a pod",
        runtime: "podman",
        examples: &[
            container(concat!("/libpod_parent/libpod-", id!())),
            container(concat!("/libpod_parent/", id!(), "/libpod-", id!())),
        ],
        ..SESSION
    },
    Builtin {
        name: "container-elsewhere",
        pattern: concat!(
            r"^/(?:[^/]+/)*(?:(?:docker|libpod|crio|cri-containerd|nerdctl)-)?",
            container!(),
            r"(?:\.scope)?$"
        ),
        about: "a container below a cgroup parent of its own: if its runtime names it",
        runtime: "",
        ground: Ground::Named,
        below: Standing::Candidate,
        examples: &[
            container(concat!("/desks/", id!())),
            container(concat!("/desks/libpod-", id!())),
        ],
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
        name: "lxc-rootless",
        pattern: concat!(
            user_units!(),
            r"/(?:lxc/|lxc\.payload[/.])(?<session>[^/]+)$"
        ),
        about: "an LXC container that a user runs without root",
        runtime: "lxc",
        ground: Ground::User,
        examples: &[named(
            "/user.slice/user-1000.slice/user@1000.service/app.slice/lxc.payload.desk-4",
            "desk-4",
        )],
        ..SESSION
    },
    Builtin {
        name: "libvirt",
        pattern: concat!(
            r"^/machine\.slice/(?:[^/]+\.slice/)*",
            r"machine-(?<machine>(?:qemu|lxc|ch)\\x2d[0-9]+)\\x2d(?<session>[^/]+)\.scope$"
        ),
        about: "a libvirt domain registered with machined",
        runtime: "libvirt",
        decoding: Decoding::SystemdUnit,
        examples: &[
            machine(
                r"/machine.slice/machine-qemu\x2d1\x2dwin11.scope",
                "win11",
                "qemu-1",
            ),
            machine(
                r"/machine.slice/machine-qemu\x2d12\x2dcad\x2dada.scope",
                "cad-ada",
                "qemu-12",
            ),
        ],
        ..SESSION
    },
    Builtin {
        name: "libvirt-unnamed",
        pattern: concat!(
            r"^/machine\.slice/(?:[^/]+\.slice/)*",
            r"machine-(?<machine>(?:qemu|lxc|ch)\\x2d[0-9]+)\.scope$"
        ),
        about: "a libvirt domain whose name has no ASCII letter, of which machined keeps nothing",
        session: "$machine",
        runtime: "libvirt",
        decoding: Decoding::SystemdUnit,
        examples: &[machine(
            r"/machine.slice/machine-qemu\x2d7.scope",
            "qemu-7",
            "qemu-7",
        )],
        ..SESSION
    },
    Builtin {
        name: "libvirt-cgroupfs",
        pattern: concat!(
            r"^/machine/(?<machine>(?:qemu|lxc|ch)-[0-9]+)-(?<session>[^/]+)",
            r"\.libvirt-(?:qemu|lxc|ch)$"
        ),
        about: "a libvirt domain without systemd",
        runtime: "libvirt",
        examples: &[machine(
            "/machine/qemu-3-win11.libvirt-qemu",
            "win11",
            "qemu-3",
        )],
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
        below: Standing::User,
        examples: &[named(
            "/user.slice/user-1000.slice/user@1000.service",
            "user-1000",
        )],
        ..SESSION
    },
    Builtin {
        name: "systemdspawner",
        pattern: r"^(?:/[^/]+\.slice)+/(?<session>jupyter-[^/]+)-singleuser\.service$",
        about: "a notebook of JupyterHub's systemdspawner, under its default unit name",
        runtime: "systemdspawner",
        decoding: Decoding::SystemdUnit,
        examples: &[named(
            "/system.slice/jupyter-ada-singleuser.service",
            "jupyter-ada",
        )],
        ..SESSION
    },
    Builtin {
        name: "proxmox-qemu",
        pattern: r"^/qemu\.slice/(?<session>[0-9]+)\.scope$",
        about: "a virtual machine of Proxmox VE, by its VMID",
        runtime: "proxmox",
        examples: &[named("/qemu.slice/101.scope", "101")],
        ..SESSION
    },
    Builtin {
        name: "slurm-job",
        pattern: concat!(
            r"^/system\.slice/(?:[^/]+_)?slurmstepd\.scope/",
            r"(?<session>job_[0-9]+)$"
        ),
        about: "a job of Slurm (cgroup/v2 plugin); its steps are parts of it",
        runtime: "slurm",
        examples: &[named("/system.slice/slurmstepd.scope/job_4711", "job_4711")],
        ..SESSION
    },
    Builtin {
        name: "nomad-task",
        pattern: concat!(
            r"^/nomad\.slice/(?:share|reserve)\.slice/",
            r"(?<allocation>[0-9a-f]{8})-[0-9a-f-]{27}\.(?<task>[^/]+)\.scope$"
        ),
        about: "a task of Nomad, with the first digits of its allocation",
        session: "$task-$allocation",
        runtime: "nomad",
        examples: &[named(
            "/nomad.slice/share.slice/0f7c1d9e-5b64-4c7e-9d35-2f1a8e6b7c40.desk.scope",
            "desk-0f7c1d9e",
        )],
        ..SESSION
    },
];
