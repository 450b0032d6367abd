#!/bin/sh
# Writes the lists of targets with the labels that come from the environment, and becomes Prometheus. Prometheus takes
# no label of a target from its environment, and rules see none but those of targets.
set -eu

fail() {
    echo "prometheus.sh: $1" >&2
    exit 1
}

for name in NODE_NAME CLUSTER ENVIRONMENT AGENT_ADDRESS; do
    eval "value=\${$name:-}"
    case $value in
    '') fail "$name is empty: set it in deploy/compose/.env" ;;
    *[!A-Za-z0-9.:_-]*) fail "$name is '$value': it may have letters, digits and . : _ - alone" ;;
    esac
done

# target ADDRESS JOB INSTANCE
target() {
    printf '{"targets": ["%s"], "labels": {"job": "%s", "instance": "%s", "cluster": "%s", "environment": "%s"}}' \
        "$1" "$2" "$3" "$CLUSTER" "$ENVIRONMENT"
}

printf '[%s]\n' "$(target "$AGENT_ADDRESS" sessionscope "$NODE_NAME")" >/run/prometheus/sessionscope.json
{
    printf '[%s' "$(target node-exporter:9100 node-exporter "$NODE_NAME")"
    for address in prometheus:9090 alertmanager:9093 grafana:3000 loki:3100 alloy:12345 jaeger:8888; do
        printf ',\n%s' "$(target "$address" "${address%:*}" "$address")"
    done
    printf ']\n'
} >/run/prometheus/stack.json

exec /bin/prometheus "$@"
