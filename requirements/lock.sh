#!/bin/sh
# Resolves pyproject.toml into the lock files; called by `make lock`.
set -eu
uv=${1:-uv}
export UV_CUSTOM_COMPILE_COMMAND="make lock"
common="--quiet --universal --python-version 3.11 --generate-hashes"
# shellcheck disable=SC2086
"$uv" pip compile $common ../pyproject.toml -o runtime.lock
# shellcheck disable=SC2086
"$uv" pip compile $common ../pyproject.toml --extra databricks --group ../pyproject.toml:dev -c runtime.lock -o dev.lock
# Independent Sparkplug implementations that the tests encode with. They pin an
# old paho-mqtt, which they only need for their own clients: installed bare.
# shellcheck disable=SC2086
"$uv" pip compile $common --no-deps peers.in -o peers.lock
# Those that cannot live beside the product, because they pin other versions of what it
# uses, get environments of their own when a test asks for them (tests/support/peer_environments.py).
# shellcheck disable=SC2086
"$uv" pip compile $common peers-tahutils.in -o peers-tahutils.lock
# An edge node that obeys a primary host.
# shellcheck disable=SC2086
"$uv" pip compile $common peers-aiospb.in -o peers-aiospb.lock
# What leads the fuzzer by coverage; put beside the product when it is fuzzed.
# shellcheck disable=SC2086
"$uv" pip compile $common --no-deps peers-atheris.in -o peers-atheris.lock
# What asks the HTTP API by its own description: brings a web framework of its own.
# shellcheck disable=SC2086
"$uv" pip compile $common peers-schemathesis.in -o peers-schemathesis.lock
# A local stand-in for a Databricks workspace, which runs as a process of its own.
# shellcheck disable=SC2086
"$uv" pip compile $common peers-minilake.in -o peers-minilake.lock
# An independent client of an Ignition gateway's REST API.
# shellcheck disable=SC2086
"$uv" pip compile $common peers-ignition.in -o peers-ignition.lock
if command -v npm >/dev/null 2>&1; then
    (cd peers-sparkplug-client && npm install --package-lock-only --ignore-scripts --no-audit --no-fund)
fi
# What builds the wheel inside the container image.
# shellcheck disable=SC2086
echo hatchling | "$uv" pip compile $common - -o ../docker/build.lock
