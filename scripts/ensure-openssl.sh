#!/bin/sh
# Makes sure that the program `openssl`, which makes the tests' certificates, can be
# found; installs it where this user may.
set -eu

command -v openssl >/dev/null 2>&1 && exit 0
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "Installing openssl with apt-get ..."
    export DEBIAN_FRONTEND=noninteractive
    if { apt-get update -qq && apt-get install -y -qq --no-install-recommends openssl; } >/dev/null; then
        exit 0
    fi
elif command -v brew >/dev/null 2>&1; then
    echo "Installing openssl with Homebrew ..."
    brew install --quiet openssl && exit 0
fi
echo "openssl is not installed; the tests make certificates with it. Install it: 'sudo apt-get install openssl' (Debian, Ubuntu), 'sudo dnf install openssl' (Fedora) or 'brew install openssl' (macOS)." >&2
exit 1
