#!/bin/sh
# Installs the Autobahn test-suite into the target folder. It needs a Python 2.7, which few systems
# still have: PYTHON2 may name one, else pyenv's and the path's are tried. Without one it is left out,
# and said so; the raw frames of the WebSocket stories are checked in any case. With --sample it runs
# the sample then.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../../../target}
sample() {
    [ "${1:-}" = --sample ] || exit 0
    exec cargo test --package codex-proxy --test it -- --ignored judged_as_without_it
}
[ ! -x "$target/autobahn/bin/wstest" ] || sample "$@"

python=""
for candidate in "${PYTHON2:-}" python2.7 "$HOME"/.pyenv/versions/2.7.*/bin/python; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null; then
        python=$candidate
    fi
done
if [ -z "$python" ]; then
    echo "no Python 2.7: the Autobahn test-suite is left out" >&2
    exit 0
fi
mkdir -p "$target/autobahn"
rm -rf "$target/autobahn" "$target/autobahn-virtualenv"
"$python" -m pip install --quiet --target "$target/autobahn-virtualenv" virtualenv==20.15.1
PYTHONPATH=$target/autobahn-virtualenv "$python" -m virtualenv --quiet "$target/autobahn"
"$target/autobahn/bin/pip" install --quiet autobahntestsuite==25.10.1
sample "$@"
