#!/bin/sh
# Three multipass machines, one cluster:
#
#   make build && deploy/multipass.sh [up|down] [MACHINES]
#
# Then: multipass exec shoal1 -- sudo shoal node ls
set -eu

action=${1:-up} machines=${2:-3}
top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
die() { echo "multipass.sh: $*" >&2; exit 1; }
command -v multipass >/dev/null || die "multipass is not installed: see https://canonical.com/multipass"

address() { multipass info "$1" --format csv | awk -F, 'NR == 2 { print $3 }'; }

up() {
	[ -f "$top/bin/shoal" ] || die "bin/shoal is missing: run 'make build' first"
	i=1
	while [ "$i" -le "$machines" ]; do
		vm=shoal$i
		multipass info "$vm" >/dev/null 2>&1 || multipass launch --name "$vm" --cpus 1 --memory 1G --disk 8G
		multipass exec "$vm" -- sudo mkdir -p /shoal/bin /shoal/deploy
		for f in bin/shoal deploy/install.sh deploy/shoal.service deploy/vm/install.sh deploy/vm/cluster.sh; do
			multipass transfer "$top/$f" "$vm:/tmp/$(basename "$(dirname "$f")")-$(basename "$f")"
			multipass exec "$vm" -- sudo install -D "/tmp/$(basename "$(dirname "$f")")-$(basename "$f")" "/shoal/$f"
		done
		multipass exec "$vm" -- sudo sh /shoal/deploy/vm/install.sh
		token=
		[ "$i" -eq 1 ] || token=$(multipass exec shoal1 -- sudo shoal cluster token manager -q)
		multipass exec "$vm" -- sudo env "SHOAL_TOKEN=$token" sh /shoal/deploy/vm/cluster.sh "$(address "$vm")" "$(address shoal1)"
		i=$((i + 1))
	done
	multipass exec shoal1 -- sudo shoal node ls
}

down() {
	i=1
	while [ "$i" -le "$machines" ]; do
		multipass delete --purge "shoal$i" || true
		i=$((i + 1))
	done
}

case $action in
up) up ;;
down) down ;;
*) die "unknown action $action: up or down" ;;
esac
