#!/bin/sh
# Installs the real clients that the client stories run: Codex CLI and OpenAI's SDKs for Node and
# Python. They land in the target folder; when the pins have not changed there is nothing to do.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../../../target}
mkdir -p "$target/clients"
clients=$(cd "$target/clients" && pwd)

pins=$(cat "$here/package.json" "$here/requirements.txt" "$0" | cksum)
if [ "$(cat "$clients/installed" 2>/dev/null)" = "$pins" ]; then
    exit 0
fi

rm -rf "$clients"
mkdir "$clients"
cp "$here/package.json" "$clients/"
# Versions are pinned by package.json; a lock file would name the registry it was made with.
(cd "$clients" && npm install --no-package-lock --no-audit --no-fund --ignore-scripts)
python3 -m venv "$clients/python"
"$clients/python/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
echo "$pins" > "$clients/installed"
