#!/usr/bin/env bash
# test.sh PYTEST [ARGS…]: all tests that are not slow, in three streams side by side: those of pure code and of decisions
# (which measure no time), those on a cluster (which mostly wait for it), and those that start the real parts. The output
# of the first two follows at the end. With ARGS, just pytest with them.
set -u
pytest=$1
shift
if [ $# -gt 0 ]; then
    exec "$pytest" -m "not slow" "$@"
fi
"$(dirname "$pytest")/python" -m edgewise.policy.precompile  # a second when nothing has changed
cluster=tests/contract/test_cluster_kubernetes.py
logs=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; rm -rf "$logs"' EXIT
trap 'exit 130' INT TERM
beside() { # NAME TESTS…
    local name=$1
    shift
    # A shell has what it starts in the background ignore SIGINT; the tests send it.
    env --default-signal=INT "$pytest" -m "not slow" -p no:cacheprovider "$@" >"$logs/$name" 2>&1 &
    pids+=($!)
}
decisions=tests/integration/decisions
beside pure tests/unit tests/golden tests/property "$decisions"
beside cluster "$cluster" -rs
"$pytest" -m "not slow" tests/contract tests/integration tests/e2e --ignore="$cluster" --ignore="$decisions"
failed=$?
for pid in "${pids[@]}"; do
    wait "$pid" || failed=1
done
for name in pure cluster; do
    printf '\nBeside it, %s:\n' "$name"
    cat "$logs/$name"
done
exit "$failed"
