#!/bin/sh
# Makes stand-ins for the two base images of the Dockerfile, where no registry can be
# reached: Debian with Python, and Debian with Mosquitto.
#
#   scripts/base-images.sh PYTHON_IMAGE MOSQUITTO_IMAGE     (names to give them)
#   docker compose build --build-arg PYTHON_IMAGE=... --build-arg MOSQUITTO_IMAGE=...
#
# Needs root, debootstrap (installed with apt-get when missing), a Debian mirror and a
# running engine. The unpacked systems are kept as archives in the cache directory, for
# the next time. Python must be 3.11 or later, hence bookworm.
set -eu
python_image=${1:?usage: base-images.sh PYTHON_IMAGE MOSQUITTO_IMAGE}
mosquitto_image=${2:?usage: base-images.sh PYTHON_IMAGE MOSQUITTO_IMAGE}
suite=${DEBIAN_SUITE:-bookworm}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/sparkplug-zerobus

[ "$(id -u)" = 0 ] || { echo "debootstrap needs root" >&2; exit 1; }
if ! command -v debootstrap >/dev/null 2>&1; then
    command -v apt-get >/dev/null 2>&1 || { echo "debootstrap is not installed" >&2; exit 1; }
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >&2
fi

work=$(mktemp -d /var/tmp/base-images.XXXXXX)
container=
finish() {
    [ -z "$container" ] || docker rm -f "$container" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM
mkdir -p "$cache"

# archive NAME PACKAGES: the minimal system with these packages, as $cache/NAME-SUITE.tar
archive() {
    [ -f "$cache/$1-$suite.tar" ] && return 0
    echo "Unpacking Debian $suite for $1 ..." >&2
    if ! debootstrap --variant=minbase --include="$2" "$suite" "$work/$1" "$mirror" \
        >"$work/$1.log" 2>&1; then
        tail -n 5 "$work/$1.log" >&2
        return 1
    fi
    rm -rf "$work/$1"/var/cache/apt/archives/*.deb "$work/$1"/var/lib/apt/lists/*
    tar -C "$work/$1" -cf "$work/$1.tar" .
    mv "$work/$1.tar" "$cache/$1-$suite.tar"
}

archive mosquitto mosquitto,mosquitto-clients &
mosquitto_job=$!
archive python python3,python3-venv,ca-certificates
wait "$mosquitto_job"
docker import "$cache/mosquitto-$suite.tar" "$mosquitto_image" >/dev/null

# `pip` in the image reaches the package index the way this machine does: the same
# authorities are trusted, and the index is the one that pip is configured with here.
pip_option() {
    python3 -m pip config get "global.$1" 2>/dev/null || true
}
layer=$work/layer
mkdir -p "$layer/etc/ssl/certs"
if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
    cp /etc/ssl/certs/ca-certificates.crt "$layer/etc/ssl/certs/"
fi
{
    echo "[global]"
    for option in index-url trusted-host proxy timeout; do
        variable=PIP_$(echo "$option" | tr 'a-z-' 'A-Z_')
        value=$(eval "printf '%s' \"\${$variable:-}\"")
        [ -n "$value" ] || value=$(pip_option "$option")
        case $value in
        "" | file:*) ;;
        *) echo "$option = $value" ;;
        esac
    done
} >"$layer/etc/pip.conf"
docker import "$cache/python-$suite.tar" "$python_image" >/dev/null
container=$(docker create "$python_image" true)
tar -C "$layer" -cf - . | docker cp - "$container:/"
docker commit "$container" "$python_image" >/dev/null
