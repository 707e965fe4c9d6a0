#!/bin/sh
# Resolves pyproject.toml into the lock files; called by `make lock`.
set -eu
uv=${1:-uv}
export UV_CUSTOM_COMPILE_COMMAND="make lock"
common="--quiet --universal --python-version 3.11 --generate-hashes"
# shellcheck disable=SC2086
"$uv" pip compile $common ../pyproject.toml -o runtime.lock
# shellcheck disable=SC2086
"$uv" pip compile $common ../pyproject.toml --group ../pyproject.toml:dev -c runtime.lock -o dev.lock
# Independent Sparkplug implementations that the tests encode with. They pin an
# old paho-mqtt, which they only need for their own clients: installed bare.
# shellcheck disable=SC2086
"$uv" pip compile $common --no-deps peers.in -o peers.lock
# What builds the wheel inside the container image.
# shellcheck disable=SC2086
echo hatchling | "$uv" pip compile $common - -o ../docker/build.lock
