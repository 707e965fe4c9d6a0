#!/bin/sh
# Makes sure that `dockerd`, a `docker` client and compose can be found, installing them
# with apt-get where this user may. Starts nothing.
set -eu

present() {
    command -v dockerd >/dev/null 2>&1 || [ -x /usr/sbin/dockerd ] || return 1
    command -v docker >/dev/null 2>&1 || return 1
    docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null 2>&1
}

present && exit 0
if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" != 0 ]; then
    echo "no Docker engine, and no right to install one (that takes root and apt-get)" >&2
    exit 1
fi
echo "Installing the Docker engine with apt-get ..." >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >&2
# Names differ between releases of Debian and Ubuntu; take those that exist.
packages=docker.io
for package in docker-cli docker-buildx; do
    apt-cache show "$package" >/dev/null 2>&1 && packages="$packages $package"
done
for package in docker-compose-v2 docker-compose; do
    apt-cache show "$package" >/dev/null 2>&1 && packages="$packages $package" && break
done
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $packages >&2
present || { echo "installed $packages, but an engine with compose is not there" >&2; exit 1; }
