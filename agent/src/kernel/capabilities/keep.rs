//! Which capabilities stay once the programs are attached.

use super::{
    CAP_BPF, CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_MKNOD, CAP_PERFMON, CAP_SYS_ADMIN,
    Capabilities, Capability, Condition, NEEDS, Node, When,
};

/// What `nvidia-modprobe` makes the device files of GPUs with, which NVIDIA's library runs where they are missing. Not
/// `CAP_SYS_MODULE`, with which it would load the driver: the agent asks the library only where that is loaded.
const DEVICE_FILES: [Capability; 4] = [CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_MKNOD];

/// What the agent itself keeps of what it holds. What it does not hold it does without, as before.
pub fn kept(held: Capabilities, node: &Node) -> Capabilities {
    let always = NEEDS.iter().filter(|need| need.when == When::Always);
    let needed = always.filter(|need| node.has(need));
    needed.fold(Capabilities::default(), |kept, need| {
        match need.capability {
            one if held.has(one) => kept.with(one),
            // It has what these two have (`bpf_capable` and `perfmon_capable`, include/linux/capability.h, 5.8 and
            // later), and an old container runtime gives nothing else.
            CAP_BPF | CAP_PERFMON if held.has(CAP_SYS_ADMIN) => kept.with(CAP_SYS_ADMIN),
            _ => kept,
        }
    })
}

/// What a program that the agent starts may gain at most. The agent starts none; NVIDIA's library does.
pub fn bounding(held: Capabilities, node: &Node) -> Capabilities {
    let kept = kept(held, node);
    if node.is(Condition::Gpus) {
        DEVICE_FILES.into_iter().fold(kept, Capabilities::with)
    } else {
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{capabilities::CAP_DAC_READ_SEARCH, preflight::KernelVersion};

    const OLD: KernelVersion = KernelVersion(5, 10);
    const LAST_OLD: KernelVersion = KernelVersion(5, 18);
    const NEW: KernelVersion = KernelVersion(5, 19);
    const ALL: Capabilities = Capabilities((1 << 41) - 1);

    fn names(held: Capabilities, kernel: KernelVersion, so: &[Condition]) -> Vec<&'static str> {
        kept(held, &Node::of(kernel, so)).names()
    }

    #[test]
    fn what_stays_follows_the_kernel_and_the_settings() {
        let read = "CAP_DAC_READ_SEARCH";
        assert_eq!(names(ALL, NEW, &[]), [read]);
        assert_eq!(names(ALL, OLD, &[]), [read, "CAP_BPF"]);
        assert_eq!(names(ALL, LAST_OLD, &[]), [read, "CAP_BPF"]);
        // The statistics are on before anything is given up.
        assert_eq!(names(ALL, NEW, &[Condition::Statistics]), [read]);
        assert_eq!(names(ALL, NEW, &[Condition::Gpus]), [read, "CAP_PERFMON"]);
        assert_eq!(
            names(ALL, OLD, &[Condition::Gpus, Condition::OtherRoot]),
            [read, "CAP_SYS_PTRACE", "CAP_PERFMON", "CAP_BPF"]
        );
    }

    #[test]
    fn nothing_stays_that_was_not_held() {
        let two = Capabilities::default().with(CAP_BPF).with(CAP_PERFMON);
        let all = [Condition::Gpus, Condition::Statistics, Condition::OtherRoot];
        assert_eq!(names(two, OLD, &all), ["CAP_PERFMON", "CAP_BPF"]);
        assert_eq!(names(two, NEW, &[]), Vec::<&str>::new());
        assert_eq!(
            names(Capabilities::default(), OLD, &all),
            Vec::<&str>::new()
        );
    }

    #[test]
    fn the_old_capability_stays_where_it_stands_for_a_new_one() {
        let held = Capabilities::default()
            .with(CAP_SYS_ADMIN)
            .with(CAP_DAC_READ_SEARCH);
        let both = ["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"];
        assert_eq!(names(held, OLD, &[]), both);
        assert_eq!(names(held, NEW, &[Condition::Gpus]), both);
        assert_eq!(names(held, NEW, &[]), ["CAP_DAC_READ_SEARCH"]);
    }

    #[test]
    fn with_gpus_their_device_files_can_still_be_made_and_no_module_loaded() {
        let without = Node::of(NEW, &[]);
        assert_eq!(bounding(ALL, &without), kept(ALL, &without));
        let with = bounding(ALL, &Node::of(NEW, &[Condition::Gpus])).names();
        assert!(with.contains(&"CAP_MKNOD") && with.contains(&"CAP_DAC_OVERRIDE"));
        assert!(!with.contains(&"CAP_SYS_MODULE") && !with.contains(&"CAP_SYS_ADMIN"));
    }
}
