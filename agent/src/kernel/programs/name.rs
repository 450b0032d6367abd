//! The names of the kernel programs, as the object has them. Whoever asks for a program does so by these, so
//! that a mistyped name does not compile; it would look like a program that does not run.

#![expect(missing_docs, reason = "what each does stands beside it in the table")]

pub const SELF_CHECK: &str = "self_check";
pub const SCHED_SWITCH: &str = "sched_switch";
pub const TASK_NEWTASK: &str = "task_newtask";
pub const SCHED_WAKEUP_NEW: &str = "sched_wakeup_new";
pub const SCHED_PROCESS_EXEC: &str = "sched_process_exec";
pub const SCHED_PROCESS_EXIT: &str = "sched_process_exit";
pub const CENSUS: &str = "census";
pub const SETTLE_RUNNING: &str = "settle_running";
pub const ENROL_THREADS: &str = "enrol_threads";
pub const CGROUP_MKDIR: &str = "cgroup_mkdir";
pub const CGROUP_RMDIR: &str = "cgroup_rmdir";
pub const CGROUP_ATTACH_TASK: &str = "cgroup_attach_task";
pub const INET_SOCK_SET_STATE: &str = "inet_sock_set_state";
pub const INET_SOCK_SET_STATE_AGAIN: &str = "inet_sock_set_state_again";
pub const TCP_DESTROY_SOCK: &str = "tcp_destroy_sock";
pub const TCP_DESTROY_SOCK_AGAIN: &str = "tcp_destroy_sock_again";
pub const CONNECTIONS: &str = "connections";
pub const OPEN_SOCKETS: &str = "open_sockets";
pub const TCP_RECEIVE_RESET: &str = "tcp_receive_reset";
pub const TCP_SEND_RESET: &str = "tcp_send_reset";
pub const SOCK_SEND_LENGTH: &str = "sock_send_length";
pub const SOCK_RECV_LENGTH: &str = "sock_recv_length";
pub const CLIENT_CONNECTS: &str = "client_connects";
pub const SK_DATA_READY: &str = "sk_data_ready";
pub const MARK_OPEN_SOCKETS: &str = "mark_open_sockets";
pub const MARKED_SOCKETS: &str = "marked_sockets";
pub const MARKED_OPEN_SOCKETS: &str = "marked_open_sockets";
pub const UDP_SENDMSG: &str = "udp_sendmsg";
pub const UDPV6_SENDMSG: &str = "udpv6_sendmsg";
pub const SKB_CONSUME_UDP: &str = "skb_consume_udp";
pub const UDP_FAIL_QUEUE_RCV_SKB: &str = "udp_fail_queue_rcv_skb";
pub const BLOCK_RQ_COMPLETE: &str = "block_rq_complete";
pub const RECLAIM_BEGIN: &str = "reclaim_begin";
pub const RECLAIM_END: &str = "reclaim_end";
pub const CGROUP_RECLAIM_BEGIN: &str = "cgroup_reclaim_begin";
pub const CGROUP_RECLAIM_END: &str = "cgroup_reclaim_end";
pub const NVIDIA_DEV_XID: &str = "nvidia_dev_xid";
