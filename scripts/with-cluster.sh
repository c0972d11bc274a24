#!/usr/bin/env bash
# Run a command with KUBECONFIG set. A cluster that is there already is used as it is; else, where the test cluster
# tool lies beside the checkout (EDGEWISE_CLUSTER_TOOL, or ../shared/kubernetes/cluster) and we are root, one of three
# nodes is started for the command and always stopped. Else the command runs without, and cluster tests skip.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
tool=${EDGEWISE_CLUSTER_TOOL:-$root/../shared/kubernetes/cluster}
if [ -n "${KUBECONFIG:-}" ] || [ ! -x "$tool" ] || [ "$(id -u)" -ne 0 ]; then
    exec "$@"
fi
export EDGEWISE_CLUSTER_TOOL=$tool
state=$(mktemp -d /tmp/edgewise-test-XXXXXX)
port=$((26000 + RANDOM % 500 * 10))
subnet=10.$((64 + RANDOM % 64))
export EDGEWISE_CLUSTER_STATE=$state
stop() {
    "$tool" down --state "$state" >/dev/null 2>&1
    rm -rf "$state"
}
trap stop EXIT
trap 'exit 130' INT TERM
if config=$("$tool" up --nodes 3 --state "$state" --port "$port" --subnet "$subnet" 2>"$state.log"); then
    export KUBECONFIG=$config
else
    echo "edgewise: the test cluster did not start; its tests will be skipped. Last words:" >&2
    tail -n 3 "$state.log" >&2
fi
rm -f "$state.log"
"$@"
