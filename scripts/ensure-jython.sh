#!/bin/sh
# Makes sure that a `jython` can be found, in which the tests run what is written for Ignition;
# installs it where this user may. With --optional a failure only speaks.
set -eu
optional=${1:-}

command -v jython >/dev/null 2>&1 && exit 0
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "Installing jython with apt-get (some 100 MB with Java, where that is missing) ..."
    export DEBIAN_FRONTEND=noninteractive
    if { apt-get update -qq && apt-get install -y -qq --no-install-recommends jython; } >/dev/null; then
        exit 0
    fi
elif command -v brew >/dev/null 2>&1; then
    echo "Installing jython with Homebrew ..."
    brew install --quiet jython && exit 0
fi
echo "jython is not installed; the tests run the handler of Event Streams in it. Install it: 'sudo apt-get install jython' (Debian, Ubuntu) or 'brew install jython' (macOS)." >&2
[ "$optional" = --optional ] && exit 0
exit 1
