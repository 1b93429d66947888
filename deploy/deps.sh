#!/usr/bin/env bash
# Installs what the tests need beyond Go, make and gcc, from Debian. Does nothing when all is there.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
need=()
has() { command -v "$1" >/dev/null 2>&1 || need+=("$2"); }
has git git
has protoc protobuf-compiler
[ -e /usr/include/google/protobuf/duration.proto ] || need+=(libprotobuf-dev) # timestamp.proto and its like
has nft nftables
has ps procps                       # what `top` is compared with
has ip iproute2
has unshare util-linux
has shellcheck shellcheck
has docker-registry docker-registry # what image pulls are tested against
has crun crun                       # the runtime whose speed ours is measured beside
has runc runc                       # the runtime whose containers ours are compared with
has busybox busybox-static          # the root file system of containers in tests
has ruby ruby                       # parses the Vagrantfile
has systemd-analyze systemd         # checks the unit; installing it starts nothing
[ ${#need[@]} -eq 0 ] && exit 0
[ "$(id -u)" = 0 ] || { echo "missing: ${need[*]}; run as root, or apt-get install them" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
