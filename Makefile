# The two commands of the README, and what they are made of.

.PHONY: demo test lint install-test-tools instructions bench bench-report bench-screen ledger bench-strict bench-archive matrix soak check-macos

# Builds the program and shows its main job. Needs a Rust toolchain and nothing else.
demo:
	cargo run --release --package codex-proxy -- demo --once

# Installs what the tests need, then checks and tests everything.
test: install-test-tools lint
	cargo test --workspace
	sh crates/proxy/tests/matrix/autobahn.sh --sample
	$(MAKE) instructions
	python3 bench/month.py 1000000

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --package archive --features s3,gs,az -- -D warnings
	cargo clippy --package amazon -- -D warnings

install-test-tools:
	sh scripts/install-test-tools.sh
	sh crates/proxy/tests/clients/install.sh

# Compares the real Codex CLI with and without the gateway, in all ways; writes docs/matrix.md.
matrix: install-test-tools
	sh crates/proxy/tests/matrix/run.sh

# Counts instructions of the serving threads beside a reference; see docs/benchmarks.md.
instructions:
	cargo build --release --package codex-proxy
	python3 bench/instructions.py

# What the archive of generated sessions costs; see docs/archive-format.md.
bench-archive:
	python3 scripts/sessions.py target/sessions 12 38 "$$(ls -d $${CARGO_HOME:-$$HOME/.cargo}/registry/src/*/ | head -n 1)"
	cargo bench --package archive --bench sessions -- "$$PWD/target/sessions"

# How fast secrets are looked for, beside a peer made of the same rules; see docs/benchmarks.md.
bench-scan:
	cargo bench --package redact --bench scan -- "$$(ls -d $${CARGO_HOME:-$$HOME/.cargo}/registry/src/*/ | head -n 1)"

# Measures against nginx and HAProxy on this machine; see docs/benchmarks.md.
bench:
	cargo build --release --package codex-proxy
	python3 bench/bench.py --write docs/benchmarks.md

# A hundred thousand mixed exchanges with faults, compared with the simulator's bill.
ledger:
	cargo test --package codex-proxy --test it -- --ignored --nocapture a_hundred_thousand_mixed

# How long a report over ten million records takes; see docs/report.md.
bench-report:
	cargo build --release --package codex-proxy
	python3 bench/month.py

# What looking for secrets adds to the delay of a request; see docs/benchmarks.md.
bench-screen:
	cargo build --release --package codex-proxy
	python3 bench/screening.py

# Measures strict mode beside OpenAI's own proxy; see docs/benchmarks.md.
bench-strict:
	cargo build --release --package codex-proxy
	python3 bench/strict.py

# An hour of faults of all kinds; writes docs/soak.md.
soak:
	cargo test --package codex-proxy --test it -- --ignored an_hour_of_faults
	sh scripts/soak-page.sh

# Whether it would build on macOS: its types, not what it does there.
check-macos:
	sh scripts/check-macos.sh
