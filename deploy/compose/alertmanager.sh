#!/bin/sh
# Puts the secrets of the environment where alertmanager.yml looks for them, in memory, sends the log sink's messages to
# Alloy, and becomes Alertmanager.
set -eu
umask 077

# secret FILE VARIABLE
secret() {
    eval "value=\${$2:-}"
    if [ -n "$value" ]; then
        printf %s "$value" >"/etc/alertmanager/secrets/$1"
    else
        echo "alertmanager.sh: $2 is empty: messages that need it are not sent" >&2
    fi
    unset "$2"
}

secret smtp-password ALERTMANAGER_SMTP_PASSWORD
secret slack-url ALERTMANAGER_SLACK_URL
secret pagerduty-key ALERTMANAGER_PAGERDUTY_KEY
secret watchdog-token ALERTMANAGER_WATCHDOG_TOKEN

# Alloy takes a message as one line of a log; its path is fixed.
sed 's|http://localhost:9095/alerts|http://alloy:9095/loki/api/v1/raw|' \
    /etc/alertmanager/alertmanager.yml >/run/alertmanager/alertmanager.yml

exec /bin/alertmanager "$@"
