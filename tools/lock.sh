#!/usr/bin/env bash
# Renew requirements/*.lock from pyproject.toml: exact versions for every supported platform.
# Plain pip reads them. They name no index, so they work with whatever index pip is set up for.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=.cache/lock/bin/uv
if [ ! -x "$uv" ]; then
    "${PYTHON:-python3.11}" -m venv .cache/lock
    .cache/lock/bin/pip install --quiet uv
fi
lock() {
    local output=$1
    shift
    "$uv" pip compile --quiet --universal --python-version 3.11 --upgrade \
        --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
        pyproject.toml requirements/build.in "$@" --output-file "$output"
}
lock requirements/check.lock --group dev --group check
# What a trial and the quick tests run is a part of it: the same versions.
lock requirements/dev.lock --group dev --constraint requirements/check.lock
lock requirements/run.lock --constraint requirements/check.lock
lock requirements/image.lock --extra ldap --extra otel --constraint requirements/check.lock
