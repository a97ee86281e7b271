#!/bin/sh
# Runs the whole matrix and writes docs/matrix.md: every case with every version of Codex CLI,
# kind of provider and transport, with and without the gateway. Takes about half an hour.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
older=$target/clients-older
if ! cmp -s "$here/package.json" "$older/package.json"; then
    rm -rf "$older"
    mkdir -p "$older"
    cp "$here/package.json" "$older/"
    (cd "$older" && npm install --no-package-lock --no-audit --no-fund --ignore-scripts)
fi

sh "$here/autobahn.sh"
cd "$root"
rm -rf "$target/matrix"
status=0
cargo test --package codex-proxy --test it -- --ignored --test-threads 1 the_whole || status=$?
{
    cat "$here/page.md"
    printf '\nLast run: %s, with the commit %s.\n' "$(date -u +%Y-%m-%d)" "$(git rev-parse --short HEAD)"
    cat "$target/matrix/"*.md
} > docs/matrix.md
exit $status
