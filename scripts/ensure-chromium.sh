#!/bin/sh
# Makes sure that a `chromium` can be found, with which the tests look at the live page;
# installs it where this user may.
set -eu

command -v chromium >/dev/null 2>&1 && exit 0
command -v chromium-browser >/dev/null 2>&1 && exit 0
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "Installing chromium with apt-get (some 100 MB) ..."
    export DEBIAN_FRONTEND=noninteractive
    if { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >/dev/null; then
        exit 0
    fi
fi
echo "chromium is not installed; the tests look at the live page with it. Install it: 'sudo apt-get install chromium' (Debian, Ubuntu) or 'sudo dnf install chromium' (Fedora)." >&2
exit 1
