#!/usr/bin/env bash
# Resolve pyproject.toml into the three hashed locks. torch is left out of them: its CPU build has another hash on
# every index, so requirements/torch.txt pins the version only. PIP_FIND_LINKS may name a folder with its wheel.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 scripts/lock_inputs.py "$work"
compile() {
    out=$1
    shift
    uv pip compile -q --python-version 3.11 ${PIP_FIND_LINKS:+--find-links "$PIP_FIND_LINKS"} --no-emit-index-url \
        --no-emit-find-links --no-header --no-annotate --no-emit-package torch "$@" -o "$work/$out"
}
compile all.txt "$work/core.in" "$work/serving.in" "$work/dev.in"
for set in core serving dev; do
    inputs+=("$work/$set.in")
    compile "$set.txt" --generate-hashes -c "$work/all.txt" "${inputs[@]}"
done
python3 scripts/lock_inputs.py "$work" --split
