#!/bin/busybox sh
# The first process of a guest that boots Debian: makes its folder the root and becomes systemd there.
export PATH=/bin
# A mount of its own, because nothing can take the place of the kernel's first file system.
/bin/busybox mount -o bind /debian /debian
cd /debian || exit
/bin/busybox mount -o move . /
exec /bin/busybox chroot . /usr/lib/systemd/systemd --unit=tests.target --show-status=no --log-target=kmsg
