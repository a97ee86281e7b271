#!/bin/sh
# Installs the programs that the tests drive, by name, where they are missing: a tracer for the
# crash tests, an instruction counter and a C compiler for its load, Node and Python for the real
# clients, git for the folders that Codex works in, zstd and jq to read the archive without us,
# PostgreSQL, of which each test starts one of its own.
set -eu

missing=""
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need strace strace
need valgrind valgrind
need cc gcc
need git git
need zstd zstd
need jq jq
need setpriv util-linux
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
need node nodejs
need npm npm
need python3 python3
python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"

[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1; then
  echo "the tests need these programs, please install them:$missing" >&2
  exit 1
fi
as_root=""
[ "$(id -u)" = 0 ] || as_root=sudo
$as_root apt-get update -q
# The names come from above and hold no blanks.
# shellcheck disable=SC2086
$as_root apt-get install -y -q --no-install-recommends $missing
