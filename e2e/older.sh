#!/usr/bin/env bash
# Builds bin/older/COMMIT/shoal from the repository's own history, for each COMMIT given, if it is not there. Where it cannot be
# built, because a clone is shallow, it says so and leaves the reason in bin/older/COMMIT/skipped for the test.
set -euo pipefail
cd "$(dirname "$0")/.."
unset MAKEFLAGS MAKELEVEL GOFLAGS

skip() {
	echo "$2" >"bin/older/$1/skipped"
	echo "SKIPPED: the upgrade from $1 is not tested: $2" >&2
}

build() (
	src=$(mktemp -d)
	trap 'rm -rf "$src"' EXIT
	git archive "$1" | tar -x -C "$src"
	make -s -C "$src" build VERSION="older-$1" COMMIT="$1"
	mv "$src/bin/shoal" "bin/older/$1/shoal"
)

for commit in "$@"; do
	[ -x "bin/older/$commit/shoal" ] && continue
	mkdir -p "bin/older/$commit"
	rm -f "bin/older/$commit/skipped"
	if ! git cat-file -e "$commit^{commit}" 2>/dev/null; then
		skip "$commit" "this clone has no commit $commit (is it shallow?): git fetch --unshallow, then make upgrade"
		continue
	fi
	build "$commit"
done
