#!/bin/sh
# Inside a test machine: install Shoal from the shared folder /shoal and wait for its socket.
set -eu
sh /shoal/deploy/install.sh --binary /shoal/bin/shoal
i=0
until shoal info >/dev/null 2>&1; do
	i=$((i + 1))
	[ $i -lt 100 ] || { echo "the daemon does not answer: journalctl -u shoal" >&2; exit 1; }
	sleep 0.1
done
