#!/bin/sh
# Installs the real clients that the client stories run: Codex CLI and OpenAI's SDKs for Node and
# Python. They land in the target folder; while the pins stay as they are there is nothing to do.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../../../target}
mkdir -p "$target/clients"
clients=$(cd "$target/clients" && pwd)

# The stories compare this stamp with the files they were built with.
if cat "$here/package.json" "$here/requirements.txt" | cmp -s - "$clients/installed"; then
    exit 0
fi

rm -rf "$clients"
mkdir "$clients"
cp "$here/package.json" "$clients/"
# Versions are pinned in package.json; a lock file would name the registry it was made with.
(cd "$clients" && npm install --no-package-lock --no-audit --no-fund --ignore-scripts)
python3 -m venv "$clients/python"
"$clients/python/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
cat "$here/package.json" "$here/requirements.txt" > "$clients/installed"
