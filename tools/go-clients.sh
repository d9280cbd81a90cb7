#!/usr/bin/env bash
# Build the Go clients of tools/go-clients.txt into the folder given, those that are not there yet,
# and what is in tests/clients/goclient and tests/clients/ociserver.
# The versions that were built are noted beside them, so that a changed line is built again.
set -euo pipefail
folder=$1
list=$(dirname "$0")/go-clients.txt
if ! command -v go >/dev/null; then
    echo "no go on PATH: tests of crane, regctl, oras, helm, cosign, kubeconform and the conformance suite" \
        "need it" >&2
    exit 1
fi
mkdir -p "$folder"
grep -v '^#' "$list" | while read -r package name; do
    own=${package%@*}
    own=${own##*/}
    binary=$folder/${name:-$own}
    if [ -x "$binary" ] && [ "$(cat "$binary.version" 2>/dev/null)" = "$package" ]; then
        continue
    fi
    echo "building $package"
    # In a folder of its own first: two packages may call their binary the same.
    new=$(mktemp -d "$(realpath "$folder")/.new.XXXX")
    CGO_ENABLED=0 GOFLAGS=-buildvcs=false GOBIN=$new go install "$package"
    mv "$new/$own" "$binary"
    rmdir "$new"
    echo "$package" >"$binary.version"
done
for own in goclient ociserver; do
    echo "building $own"
    CGO_ENABLED=0 GOFLAGS=-buildvcs=false \
        go build -C "$(dirname "$0")/../tests/clients/$own" -o "$(realpath "$folder")/$own" .
done
