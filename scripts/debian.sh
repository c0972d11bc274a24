#!/usr/bin/env bash
# The programs of Debian that the browser, Prometheus and cluster tests run. Installs what is missing when we are
# root on Debian; otherwise says what is missing, and the tests that need it skip with a reason.
set -u
missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("${@:2}"); }
need chromium chromium fonts-dejavu-core
need prometheus prometheus
need debootstrap debootstrap
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "edgewise: tests that need ${missing[*]} will be skipped (apt-get install ${missing[*]})" >&2
    exit 0
fi
echo "edgewise: installing ${missing[*]} from Debian" >&2
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
# policy-rc.d keeps the Prometheus package from starting a server of its own.
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    echo "edgewise: apt-get could not install ${missing[*]}; their tests will be skipped. Last words:" >&2
    tail -n 3 "$log" >&2
fi
rm -f "$log"
