#!/bin/sh
# Inside a test machine: cluster.sh ADDRESS FIRST. The first machine makes the cluster, the others join it as managers
# with the token in SHOAL_TOKEN. Does nothing on a machine that is in a cluster.
set -eu
address=$1 first=$2
state=$(shoal info --format '{{.Cluster.State}}')
[ "$state" = inactive ] || { echo "already in a cluster ($state)"; exit 0; }
if [ "$address" = "$first" ]; then
	shoal cluster init --advertise-addr "$address"
else
	shoal cluster join --advertise-addr "$address" --token "${SHOAL_TOKEN:?set SHOAL_TOKEN to a join token of the first machine}" "$first:2377"
fi
