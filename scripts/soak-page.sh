#!/bin/sh
# Puts what the hour of faults has found on its page.
set -eu

cd "$(dirname "$0")/.."
found=${CARGO_TARGET_DIR:-target}/tmp/soak.md
{
    cat <<'PAGE'
# An hour of faults

`make soak` lets four clients ask for an hour while the upstream fails, stalls and breaks off, clients leave, the object store cannot be written, and the gateway is killed, stopped, frozen and taken over from. Then everything the clients saw is compared with what is stored. `make test` does the same for three minutes.

PAGE
    printf 'Last run: %s, with the commit %s.\n\n' "$(date -u +%Y-%m-%d)" "$(git rev-parse --short HEAD)"
    cat "$found"
} > docs/soak.md
