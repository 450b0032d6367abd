#!/bin/bash
# A desktop that saves a project of 64 MiB, forgets it and opens it again.
file=/home/project
while :; do
    dd if=/dev/urandom of="$file" bs=1M count=64 conv=fsync status=none
    # With a count of 0 nothing is written: the cache lets the file go, so that the next line reads the disk.
    dd of="$file" oflag=nocache conv=notrunc,fdatasync count=0 status=none </dev/null
    dd if="$file" of=/dev/null bs=1M status=none
    sleep 5
done
