#!/usr/bin/env bash
# test.sh PYTEST [ARGS…]: all tests that are not slow. With a cluster, its tests run beside the rest, since they mostly
# wait for it; their output follows at the end. With ARGS, just pytest with them.
set -u
pytest=$1
shift
beside=tests/contract/test_cluster_kubernetes.py
if [ -z "${KUBECONFIG:-}" ] || [ $# -gt 0 ]; then
    exec "$pytest" -m "not slow" "$@"
fi
log=$(mktemp)
"$pytest" -m "not slow" -p no:cacheprovider "$beside" >"$log" 2>&1 &
cluster=$!
trap 'kill "$cluster" 2>/dev/null; rm -f "$log"' EXIT
trap 'exit 130' INT TERM
"$pytest" -m "not slow" --ignore="$beside"
rest=$?
wait "$cluster"
with_cluster=$?
echo
echo "On the cluster:"
cat "$log"
exit $((rest != 0 ? rest : with_cluster))
