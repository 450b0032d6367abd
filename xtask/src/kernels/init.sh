#!/bin/busybox sh
# The first process of a guest: makes the machine that the tests expect, and has them run. Lines that begin
# with @@ are for the host.
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
exec sh /tests.sh
