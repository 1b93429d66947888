#!/usr/bin/env bash
# Installs what the tests need beyond Go, make and gcc, from Debian. Does nothing when all is there.
set -euo pipefail
need=()
has() { command -v "$1" >/dev/null 2>&1 || need+=("$2"); }
has protoc protobuf-compiler
has nft nftables
has ip iproute2
has shellcheck shellcheck
has docker-registry docker-registry
has crun crun
has ruby ruby
[ ${#need[@]} -eq 0 ] && exit 0
[ "$(id -u)" = 0 ] || { echo "missing: ${need[*]}; run as root, or apt-get install them" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
