#!/usr/bin/env bash
# Builds the echo replica's image without a registry or an engine, and prints "NAME TAR" on stdout.
#
#   EDGEWISE_CLUSTER_TOOL=path/to/cluster deploy/replica/build.sh
#
# Needs root and Debian's debootstrap. The tool is anything that understands
#   TOOL image NAME OUT.tar --rootfs DIR --rootfs DIR --env K=V --workdir DIR --command ...
# Root file system and image are cached under $EDGEWISE_CACHE (default: the user's cache folder); the image's tag is
# the hash of what is in it, so a change of the program makes a new image and an unchanged one is not built again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tool=${1:-${EDGEWISE_CLUSTER_TOOL:?set EDGEWISE_CLUSTER_TOOL to the tool that writes images}}
suite=${EDGEWISE_DEBIAN_SUITE:-bookworm}
mirror=${EDGEWISE_DEBIAN_MIRROR:-}
cache=${EDGEWISE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/edgewise}/replica
mkdir -p "$cache"
exec 9>"$cache/lock"
flock -w 600 9

packages=python3-minimal,libpython3-stdlib
rootfs=$cache/rootfs-$suite
tag=$( (echo "$suite $packages"; cat "$here/build.sh" "$here"/echo_replica/*.py) | sha256sum | cut -c1-12)
name=edgewise.local/echo-replica:$tag
out=$cache/echo-replica-$tag.tar

if [ ! -f "$out" ]; then
  if [ ! -d "$rootfs" ]; then
    command -v debootstrap >/dev/null || { echo "debootstrap is missing: apt-get install debootstrap" >&2; exit 2; }
    rm -rf "$rootfs.new"
    debootstrap --variant=minbase --include=$packages "$suite" "$rootfs.new" $mirror >"$cache/debootstrap.log" 2>&1 ||
      { tail -n 5 "$cache/debootstrap.log" >&2; exit 1; }
    rm -rf "$rootfs.new"/var/cache/apt "$rootfs.new"/var/lib/apt/lists/* "$rootfs.new"/usr/share/{doc,man,locale,info}
    mv "$rootfs.new" "$rootfs"
  fi
  app=$(mktemp -d)
  trap 'rm -rf "$app"' EXIT
  mkdir -p "$app/opt/replica/echo_replica"
  cp "$here"/echo_replica/*.py "$app/opt/replica/echo_replica/"
  "$tool" image "$name" "$out" --rootfs "$rootfs" --rootfs "$app" --env PYTHONDONTWRITEBYTECODE=1 \
    --workdir /opt/replica --command python3 -u -m echo_replica >&2
fi
echo "$name $out"
