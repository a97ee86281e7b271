#!/bin/sh
# Checks that the program would build on macOS, on any machine: types, not behaviour. C code in its
# libraries is compiled by the one of PyPI's ziglang, which knows Apple's headers.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
tools=${CARGO_TARGET_DIR:-$root/target}/macos-tools
rustup target add aarch64-apple-darwin
if [ ! -x "$tools/bin/python" ]; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet ziglang
fi
# What the build scripts say for Apple's compiler, zig does not know.
cat > "$tools/cc" <<'END'
#!/bin/sh
for argument in "$@"; do
    shift
    case $argument in
        --target=* | -arch | arm64 | -mmacosx-version-min=*) ;;
        *) set -- "$@" "$argument" ;;
    esac
done
exec "$(dirname "$0")/bin/python" -m ziglang cc -target aarch64-macos "$@"
END
cat > "$tools/ar" <<'END'
#!/bin/sh
exec "$(dirname "$0")/bin/python" -m ziglang ar "$@"
END
chmod +x "$tools/cc" "$tools/ar"
cd "$root"
CC_aarch64_apple_darwin=$tools/cc AR_aarch64_apple_darwin=$tools/ar CRATE_CC_NO_DEFAULTS=1 \
    cargo check --target aarch64-apple-darwin --package codex-proxy
