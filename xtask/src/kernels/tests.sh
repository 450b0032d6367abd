#!/bin/busybox sh
# Runs each test program of a guest and says on the console how it ended, then ends the guest. Lines that
# begin with @@ are for the host.
. /environment
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
busybox dmesg | busybox grep -e 'WARNING: ' -e 'BUG: ' | head -n 3 | while read -r line; do
    echo "@@ broken the kernel says: $line"
done
echo "@@ done"
busybox poweroff -f
