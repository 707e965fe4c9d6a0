#!/bin/sh
# Makes sure that `prometheus` and `promtool` can be found, with which the tests look at
# monitoring/; installs them where this user may.
set -eu

command -v prometheus >/dev/null 2>&1 && command -v promtool >/dev/null 2>&1 && exit 0
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "Installing prometheus with apt-get; the system may start its service, on port 9090 ..."
    export DEBIAN_FRONTEND=noninteractive
    if { apt-get update -qq && apt-get install -y -qq --no-install-recommends prometheus; } >/dev/null; then
        exit 0
    fi
elif command -v brew >/dev/null 2>&1; then
    echo "Installing prometheus with Homebrew ..."
    brew install --quiet prometheus && exit 0
fi
echo "prometheus and promtool are not installed; the tests look at monitoring/ with them. Install them: 'sudo apt-get install prometheus' (Debian, Ubuntu), 'sudo dnf install golang-github-prometheus' (Fedora) or 'brew install prometheus' (macOS)." >&2
exit 1
