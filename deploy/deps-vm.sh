#!/usr/bin/env bash
# Fetches what real virtual machines for tests are made of, all from Debian: QEMU, and the newest cloud kernel, which is
# unpacked into the given directory and never installed. Does nothing when all is there.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
dir=${1:?usage: deps-vm.sh DIRECTORY}
need=()
has() { command -v "$1" >/dev/null 2>&1 || need+=("$2"); }
has qemu-system-x86_64 qemu-system-x86
has busybox busybox-static
has depmod kmod
has mkfs.ext4 e2fsprogs
has lz4 lz4
has xz xz-utils
has zstd zstd
has nft nftables
has bridge iproute2
has ps procps
has runc runc
has checkpolicy checkpolicy
has docker-registry docker-registry
if [ ${#need[@]} -gt 0 ]; then
	[ "$(id -u)" = 0 ] || { echo "missing: ${need[*]}; run as root, or apt-get install them" >&2; exit 1; }
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
fi
[ -e "$dir/vmlinux" ] && exit 0

# A field of a bzImage's header (Documentation/arch/x86/boot.rst): position, length.
field() { od -A n -t "u$2" -j "$1" -N "$2" "$image" | tr -d ' '; }

# The kernel proper is an ELF inside the bzImage, compressed. QEMU boots it as it is, and no emulated processor has to unpack it.
unpack() {
	local image=$1 start length packed=$tmp/payload
	start=$(((1 + $(field 497 1)) * 512 + $(field 584 4)))
	length=$(($(field 588 4) - 4)) # the last four bytes are the unpacked length
	dd if="$image" of="$packed" iflag=skip_bytes,count_bytes skip="$start" count="$length" bs=1M status=none
	case $(od -A n -t x1 -N 4 "$packed" | tr -d ' ') in
	02214c18) lz4 -dc "$packed" ;;
	fd377a58) xz -dc --single-stream "$packed" ;;
	28b52ffd) zstd -dc "$packed" ;;
	1f8b*) gzip -dc "$packed" ;;
	*) echo "$image: its compression is unknown" >&2 && return 1 ;;
	esac
}

rm -rf "$dir" && mkdir -p "$dir"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
chmod 755 "$tmp"
package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-/ { print $2; exit }')
[ -n "$package" ] || { echo "apt knows no linux-image-cloud-amd64: apt-get update?" >&2; exit 1; }
(cd "$tmp" && apt-get download -qq -o APT::Sandbox::User=root "$package")
dpkg-deb -x "$tmp/$package"_*.deb "$tmp/root"
mv "$tmp/root/lib" "$dir/lib"
release=$(ls "$dir/lib/modules")
depmod -b "$dir" "$release"
unpack "$tmp/root/boot/vmlinuz-$release" >"$dir/vmlinux.tmp"
mv "$dir/vmlinux.tmp" "$dir/vmlinux"
echo "$package is unpacked in $dir"
