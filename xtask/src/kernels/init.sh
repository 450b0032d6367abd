#!/bin/busybox sh
# The first process of a guest: makes the machine that the tests expect, runs each test program and
# says on the console how it ended. Lines that begin with @@ are for the host.
/bin/busybox mkdir -p /proc /sys /dev /tmp /disk /bin
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done
# systemd's default (sysctl.d/50-pid-max.conf), so that of nearly every node.
echo 4194304 >/proc/sys/kernel/pid_max
# As above (`DefaultLimitNOFILE`); the kernel's own is 4,096.
ulimit -Hn 524288
ip link set lo up
for module in /modules/*; do
    insmod "$module" || echo "@@ broken $module"
done
. /environment
if [ -n "$SESSIONSCOPE_TEST_DISK" ]; then
    mount -t ext4 /dev/vda "$SESSIONSCOPE_TEST_DISK" || echo "@@ broken disk"
fi
echo "@@ kernel $(uname -r)"
for test in /tests/*; do
    name=${test##*/}
    echo "@@ begin $name"
    # shellcheck disable=SC2086 # the filter is no or one word
    "$test" --test-threads=1 --color=never --nocapture $FILTER
    echo "@@ end $name $?"
done
# What the agents have logged: the list of events must have been seen, here or on the host.
touch "$AGENT_EVENTS_SEEN"
sort -u "$AGENT_EVENTS_SEEN" | while read -r event; do
    echo "@@ event $event"
done
# Whatever the programs did, the kernel has nothing to complain of.
dmesg | grep -e 'WARNING: ' -e 'BUG: ' | head -n 3 | while read -r line; do
    echo "@@ broken the kernel says: $line"
done
echo "@@ done"
poweroff -f
