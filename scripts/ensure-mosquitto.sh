#!/bin/sh
# Makes sure that a `mosquitto` can be found, installing it with the system's
# package manager where this user may. With --optional a failure only speaks.
set -eu
optional=${1:-}

for place in "$(command -v mosquitto || true)" /usr/sbin/mosquitto /usr/local/sbin/mosquitto /opt/homebrew/sbin/mosquitto; do
    [ -n "$place" ] && [ -x "$place" ] && exit 0
done

if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "Installing mosquitto with apt-get ..."
    export DEBIAN_FRONTEND=noninteractive
    if { apt-get update -qq && apt-get install -y -qq --no-install-recommends mosquitto; } >/dev/null; then
        exit 0
    fi
elif command -v brew >/dev/null 2>&1; then
    echo "Installing mosquitto with Homebrew ..."
    brew install --quiet mosquitto && exit 0
fi

echo "mosquitto is not installed. Install it: 'sudo apt-get install mosquitto' (Debian, Ubuntu), 'sudo dnf install mosquitto' (Fedora) or 'brew install mosquitto' (macOS)." >&2
[ "$optional" = --optional ] && exit 0
exit 1
