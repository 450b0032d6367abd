#!/bin/bash
# A desktop on which something is compiled now and then: two threads for six seconds in each ten. Its limit of one CPU
# holds them back, so it waits and is throttled.
while :; do
    for _ in 1 2; do
        timeout 6 bash -c 'while :; do :; done' &
    done
    wait
    sleep 4
done
