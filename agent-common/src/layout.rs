//! Member offsets of kernel structures.
//!
//! rustc emits no CO-RE relocations. The agent resolves the offsets from the running kernel's BTF
//! and writes them into the programs before they are loaded (see [`crate::constants`]). [`MEMBERS`] is the one list: which structure, which member, where it goes.

/// An offset that the running kernel does not have: the feature behind it is absent.
pub const ABSENT: u32 = u32::MAX;

macro_rules! layout {
    ($($field:ident: $structure:literal . $($member:literal)|+, $need:ident, $doc:literal;)+) => {
        /// Byte offsets of the members the kernel programs read.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Layout {
            $(#[doc = $doc] pub $field: u32,)+
        }

        impl Layout {
            /// No member known.
            pub const UNRESOLVED: Self = Self { $($field: ABSENT,)+ };
        }

        /// How each offset is found, in the order of [`Layout`]'s fields.
        pub const MEMBERS: &[Member] = &[
            $(Member {
                field: stringify!($field),
                structure: $structure,
                paths: &[$($member),+],
                need: Need::$need,
                set: |layout, offset| layout.$field = offset,
                get: |layout| layout.$field,
            },)+
        ];
    };
}

/// Whether the agent can do without a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Without it nothing is measured.
    Required,
    /// Without it one feature is absent.
    Optional,
    /// Kernels have it or another one that says the same.
    Alternative,
}

/// One member of a kernel structure.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Field of [`Layout`].
    pub field: &'static str,
    /// Kernel structure.
    pub structure: &'static str,
    /// Dotted member paths, tried in order: a member that was renamed has both names.
    pub paths: &'static [&'static str],
    /// Whether its absence is fatal.
    pub need: Need,
    /// Stores a resolved offset.
    pub set: fn(&mut Layout, u32),
    /// Reads the offset.
    pub get: fn(&Layout) -> u32,
}

layout! {
    task_pid: "task_struct"."pid", Required, "Thread id (include/linux/sched.h).";
    task_tgid: "task_struct"."tgid", Required, "Process id.";
    task_comm: "task_struct"."comm", Required, "Command name, 16 bytes.";
    task_cgroups: "task_struct"."cgroups", Required, "`css_set` of the thread.";
    task_signal: "task_struct"."signal", Required, "`signal_struct`, shared by a process's threads.";
    task_group_leader: "task_struct"."group_leader", Required, "First thread of the process.";
    task_exit_code: "task_struct"."exit_code", Required, "Wait status of the thread.";
    task_exit_state: "task_struct"."exit_state", Required, "Not 0 once the thread is a zombie or dead.";
    task_state: "task_struct"."__state" | "state", Required, "What it does; `TASK_NEW` until it is woken for the first time. `__state` since 5.14.";
    task_start_boottime: "task_struct"."start_boottime", Required, "Start of the thread, ns since boot; since 5.5.";
    task_nivcsw: "task_struct"."nivcsw", Required, "Involuntary switches; the kernel counts before the tracepoint (kernel/sched/core.c, `__schedule`).";
    task_major_faults: "task_struct"."maj_flt", Required, "Page faults that waited for I/O.";
    task_exec_id: "task_struct"."self_exec_id", Required, "Raised by each execve that replaces the program (fs/exec.c, `begin_new_exec`), inherited by children.";
    task_run_delay: "task_struct"."sched_info.run_delay", Required, "Time runnable and waiting, ns (kernel/sched/stats.h, `sched_info_arrive`).";
    task_exec_runtime: "task_struct"."se.sum_exec_runtime", Required, "Time on a CPU, ns.";
    task_priority: "task_struct"."prio", Alternative, "Priority: 100 to 139 of threads that CPU limits are for, below of real-time ones (include/linux/sched/prio.h).";
    task_throttled: "task_struct"."throttled", Alternative, "Whether a CPU limit keeps it from running, one byte; since 6.18.";
    task_cfs_rq: "task_struct"."se.cfs_rq", Alternative, "Its run queue in its CPU's hierarchy of groups (`CONFIG_FAIR_GROUP_SCHED`).";
    cfs_rq_throttle_count: "cfs_rq"."throttle_count", Alternative, "How many of the groups from its own upwards have used their limit up (`CONFIG_CFS_BANDWIDTH`; kernel/sched/fair.c, `throttled_hierarchy`).";
    cfs_rq_throttled_time: "cfs_rq"."throttled_clock_pelt_time" | "throttled_clock_task_time", Alternative, "For how long that was so, ns, up to the last time it ended (kernel/sched/fair.c, `tg_unthrottle_up`); `throttled_clock_pelt_time` since 5.19, in the time of its CPU's load, which a lower frequency slows down.";
    task_stack: "task_struct"."stack", Alternative, "Kernel stack, at whose top the registers of user space are.";
    regs_syscall: "pt_regs"."orig_ax" | "syscallno", Alternative, "Number of the system call that it is in; none after an interrupt (`orig_ax` on x86-64, `syscallno` on arm64).";
    signal_live: "signal_struct"."live.counter", Required, "Threads that have not begun to exit.";
    signal_nr_threads: "signal_struct"."nr_threads", Required, "Threads not yet released.";
    signal_flags: "signal_struct"."flags", Required, "`SIGNAL_GROUP_EXIT` is 4 (include/linux/sched/signal.h).";
    signal_group_exit_code: "signal_struct"."group_exit_code", Required, "Wait status set by `exit_group` or a fatal signal.";
    signal_oom_mm: "signal_struct"."oom_mm", Required, "Set by `mark_oom_victim` (`mm/oom_kill.c`), never cleared before the `signal_struct` is freed.";
    css_set_dfl_cgrp: "css_set"."dfl_cgrp", Required, "The cgroup in the v2 hierarchy.";
    cgroup_kn: "cgroup"."kn", Required, "Directory of the cgroup.";
    cgroup_root: "cgroup"."root", Required, "Hierarchy of the cgroup.";
    cgroup_level: "cgroup"."level", Required, "Depth; 0 is the root of the hierarchy.";
    cgroup_ancestors: "cgroup"."ancestors", Alternative, "The cgroups above by their level, and itself; since 6.1.";
    cgroup_ancestor_ids: "cgroup"."ancestor_ids", Alternative, "Their ids, before 6.1.";
    cgroup_root_hierarchy_id: "cgroup_root"."hierarchy_id", Required, "0 is the v2 hierarchy (kernel/cgroup/cgroup.c, `cgroup_init`).";
    kernfs_id: "kernfs_node"."id", Required, "Inode number; the cgroup id.";
    kernfs_parent: "kernfs_node"."__parent" | "parent", Required, "Directory above; `__parent` since 6.15.";
    kernfs_name: "kernfs_node"."name", Required, "Last path component.";
    sock_state: "sock_common"."skc_state", Optional, "TCP state (`include/net/tcp_states.h`), one byte.";
    sock_local_port: "sock_common"."skc_num", Optional, "Local port, host byte order.";
    sock_remote_port: "sock_common"."skc_dport", Optional, "Port of the other end, network byte order.";
    sock_addresses: "sock_common"."skc_addrpair", Optional, "IPv4 addresses, the other end's before the own, network byte order.";
    sock_net: "sock_common"."skc_net.net", Optional, "Network namespace.";
    sock_remote_v6: "sock_common"."skc_v6_daddr", Optional, "IPv6 address of the other end; of IPv4 the mapped one.";
    sock_local_v6: "sock_common"."skc_v6_rcv_saddr", Optional, "IPv6 address of the own end; of IPv4 the mapped one.";
    sock_flags: "sock_common"."skc_flags", Optional, "Bit 1 is `SOCK_DONE`: a FIN has been received (`tcp_fin`).";
    sock_protocol: "sock"."sk_protocol", Optional, "IPPROTO number, two bytes since 5.6.";
    sock_cgroup: "sock"."sk_cgrp_data", Optional, "The socket's cgroup; before 5.15 a union whose lowest bit says that it is something else.";
    sock_family: "sock_common"."skc_family", Optional, "`AF_INET` or `AF_INET6`, two bytes.";
    sock_error: "sock"."sk_err", Optional, "Errno that ended it; set before the state becomes CLOSE (`net/ipv4/tcp_input.c`, `tcp_reset`; `net/ipv4/tcp_timer.c`, `tcp_write_err`).";
    file_inode: "file"."f_inode", Optional, "Inode of an open file.";
    file_private: "file"."private_data", Optional, "Of a socket's file: its `struct socket` (net/socket.c, `sock_alloc_file`).";
    inode_mode: "inode"."i_mode", Optional, "Kind of file, two bytes.";
    socket_sock: "socket"."sk", Optional, "The `struct sock` of a socket.";
    tcp_srtt: "tcp_sock"."srtt_us", Optional, "Smoothed round-trip time, eighths of a microsecond.";
    tcp_min_rtt: "tcp_sock"."rtt_min", Optional, "The least round-trip times of the last minutes, `struct minmax`: of each when it was (4 bytes), and what, microseconds.";
    tcp_write_seq: "tcp_sock"."write_seq", Optional, "Number of the byte after the last one that was written.";
    tcp_snd_nxt: "tcp_sock"."snd_nxt", Optional, "Number of the byte that is sent next.";
    tcp_bytes_sent: "tcp_sock"."bytes_sent", Optional, "Data bytes sent, retransmitted ones included (4.19).";
    tcp_bytes_retransmitted: "tcp_sock"."bytes_retrans", Optional, "Data bytes sent again (4.19).";
    tcp_bytes_received: "tcp_sock"."bytes_received", Optional, "Bytes received in order, a FIN counting as one.";
    tcp_total_retransmits: "tcp_sock"."total_retrans", Optional, "Segments sent again.";
    tcp_data_segments_sent: "tcp_sock"."data_segs_out", Optional, "Segments with data sent, retransmitted ones included, modulo 2³² (4.6).";
    tcp_received: "tcp_sock"."rcv_nxt", Optional, "Sequence number of the next byte that is to come.";
    tcp_copied: "tcp_sock"."copied_seq", Optional, "Sequence number of the next byte that the reader is to take.";
    sock_storage: "sock"."sk_bpf_storage", Optional, "Storage of BPF programs (5.2); null where none has any.";
    sock_queue_tail: "sock"."sk_receive_queue.prev", Optional, "Last packet that waits to be read.";
    sock_queue_length: "sock"."sk_receive_queue.qlen", Optional, "Packets that wait to be read.";
    skb_sock: "sk_buff"."sk", Optional, "Socket of a packet; in the queue of a listening Unix socket, the new one of its side (`unix_stream_connect` in `net/unix/af_unix.c`).";
    unix_peer: "unix_sock"."peer", Optional, "Other end of a Unix connection.";
    unix_address: "unix_sock"."addr", Optional, "`unix_address` of a Unix socket; the listener's for one that was accepted.";
    unix_address_length: "unix_address"."len", Optional, "Bytes of its `sockaddr_un`.";
    unix_address_name: "unix_address"."name", Optional, "Its `sockaddr_un`: family, two bytes, and path.";
    tcp_data_came: "inet_connection_sock"."icsk_ack.lrcvtime", Optional, "When data came last, the lower half of jiffies; of an accepted one that has had none when it was made (`net/ipv4/tcp_minisocks.c`, `tcp_create_openreq_child`).";
    tcp_acknowledged: "tcp_sock"."rcv_tstamp", Optional, "When an acknowledgement came last, the lower half of jiffies (`net/ipv4/tcp_input.c`, `tcp_ack`).";
    request_flags: "request"."cmd_flags", Optional, "Operation in the lowest eight bits (`include/linux/blk_types.h`, `REQ_OP_MASK`).";
    request_length: "request"."__data_len", Optional, "Bytes still to be completed.";
    request_made: "request"."start_time_ns", Optional, "When the request was made, ns of `CLOCK_MONOTONIC`; 0 where neither statistics nor a scheduler want it (block/blk-mq.c, `blk_mq_need_time_stamp`).";
    request_issued: "request"."io_start_time_ns", Optional, "When it was given to the driver; 0 unless statistics want it.";
    request_bio: "request"."bio", Optional, "First `bio` that is not completed.";
    bio_blkg: "bio"."bi_blkg", Optional, "Who issued the I/O: a cgroup on a device.";
    blkg_blkcg: "blkcg_gq"."blkcg", Optional, "The cgroup's block controller state.";
    blkcg_cgroup: "blkcg"."css.cgroup", Optional, "The cgroup.";
}

const _: () = assert!(size_of::<Layout>() == MEMBERS.len() * 4);

crate::pod!(Layout);
