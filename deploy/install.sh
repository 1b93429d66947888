#!/bin/sh
# Installs Shoal on this machine: one file to PREFIX/bin, a systemd unit, a group for the socket.
#
#   install.sh [--binary FILE] [--prefix DIR] [--root DIR] [--no-start] [--uninstall]
#
# Running it again upgrades: the daemon restarts, containers do not notice.
set -eu

binary='' prefix=/usr/local root='' start=yes uninstall=no

die() { echo "install.sh: $*" >&2; exit 1; }
usage() { sed -n '2,6s/^# \{0,1\}//p' "$0"; }

while [ $# -gt 0 ]; do
	case $1 in
	--binary) [ $# -gt 1 ] || die "--binary needs a file"; binary=$2; shift ;;
	--prefix) [ $# -gt 1 ] || die "--prefix needs a directory"; prefix=$2; shift ;;
	--root) [ $# -gt 1 ] || die "--root needs a directory"; root=$2; start=no; shift ;;
	--no-start) start=no ;;
	--uninstall) uninstall=yes ;;
	-h | --help) usage; exit 0 ;;
	*) die "unknown option $1: see install.sh --help" ;;
	esac
	shift
done

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
unit_dir=$root/etc/systemd/system
target=$root$prefix/bin/shoal
completions="bash:usr/share/bash-completion/completions/shoal zsh:usr/share/zsh/vendor-completions/_shoal fish:usr/share/fish/vendor_completions.d/shoal.fish"
systemd() { [ "$start" = yes ] && [ -d /run/systemd/system ]; }

[ -n "$root" ] || [ "$(id -u)" = 0 ] || die "run it as root (or with --root DIR to install into a directory)"

if [ "$uninstall" = yes ]; then
	if systemd; then systemctl disable --now shoal.service || true; fi
	rm -f "$target" "$unit_dir/shoal.service"
	for completion in $completions; do rm -f "$root/${completion#*:}"; done
	if systemd; then systemctl daemon-reload; fi
	echo "Shoal is removed. Its data is still in $root/var/lib/shoal: delete it by hand if you mean it."
	exit 0
fi

if [ -z "$binary" ]; then
	for f in "$here/shoal" "$here/../bin/shoal"; do
		[ ! -f "$f" ] || { binary=$f; break; }
	done
fi
[ -n "$binary" ] || die "no binary found: build it with 'make build', or name one with --binary FILE"
[ -f "$binary" ] || die "$binary is not a file"
says=$("$binary" --version 2>/dev/null) || die "$binary does not run on this machine: is it built for $(uname -m)?"
case $says in [Ss]hoal*) ;; *) die "$binary is not a shoal" ;; esac

# The group whose members may use the socket.
if ! grep -q '^shoal:' "$root/etc/group" 2>/dev/null; then
	if [ -n "$root" ]; then
		mkdir -p "$root/etc"
		echo 'shoal:x:990:' >>"$root/etc/group"
	else
		groupadd --system shoal
	fi
fi

# By rename: a running daemon keeps its old file, and a crash leaves one of the two whole.
mkdir -p "$(dirname "$target")" "$unit_dir"
cp "$binary" "$target.new"
chmod 0755 "$target.new"
mv -f "$target.new" "$target"
sed "s|/usr/local/bin/shoal|$prefix/bin/shoal|" "$here/shoal.service" >"$unit_dir/shoal.service.new"
mv -f "$unit_dir/shoal.service.new" "$unit_dir/shoal.service"

for shell in $completions; do
	file=$root/${shell#*:}
	mkdir -p "$(dirname "$file")"
	"$target" completion "${shell%%:*}" >"$file"
done

if systemd; then
	systemctl daemon-reload
	systemctl enable shoal.service
	systemctl restart shoal.service
	echo "Shoal runs. Start a cluster with 'shoal cluster init', or join one with 'shoal cluster join'."
else
	echo "Shoal is installed in $target. Start it with 'systemctl enable --now shoal', or by hand: shoal daemon"
fi
