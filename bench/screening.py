#!/usr/bin/env python3
"""Measures what looking for secrets adds to the delay of a request: codex-proxy with the screen, which
masks by default, beside the same with the screen off. See docs/benchmarks.md.

A known request is one of a conversation that has come before but for its last twentieth, as each turn of
Codex is; a new one has never been seen.

Example: cargo build --release -p codex-proxy && python3 bench/screening.py
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from types import SimpleNamespace

import cases
from bench import HERE, Bench
from cases import Case
from contenders import Ours

CASES = [
    Case("known, 100 KB, 200/s", "100 KB", 1_500, rate=200, seen=0.95),
    Case("known, 1 MB, 20/s", "1 MB", 300, rate=20, seen=0.95),
    Case("new, 2 KB, 500/s", "2 KB", 2_000, rate=500),
    Case("new, 100 KB, 200/s", "100 KB", 1_500, rate=200),
    Case("new, 1 MB, 20/s", "1 MB", 300, rate=20),
]


class Off(Ours):
    """The same without the screen."""

    name, settings = "off", {"CODEX_PROXY_SCREEN_ACTION": "off"}


def main():
    options = parse()
    cases.DELAY.extend(CASES)
    figures = {}
    with tempfile.TemporaryDirectory(prefix="codex-proxy-screening-") as folder:
        bench = Bench(Path(folder), SimpleNamespace(binary=options.binary))
        try:
            for number in range(options.rounds):
                for contender in (Ours(options.binary), Off(options.binary)):
                    measure(bench, contender, number, figures)
        finally:
            bench.close()
    print(f"| medians of {options.rounds} rounds, µs: p50 / p99 | screen off | screen | added |")
    print("| --- | ---: | ---: | ---: |")
    for case in CASES:
        off, on = ([statistics.median(part) for part in zip(*figures[case.name, name])] for name in ("off", "codex-proxy"))
        added = [after - before for before, after in zip(off, on)]
        print(f"| {case.name} | " + " | ".join(f"{p50:,.0f} / {p99:,.0f}" for p50, p99 in (off, on, added)) + " |")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured [5]")
    parser.add_argument("--binary", type=Path, default=HERE.parent / "target/release/codex-proxy", help="the program")
    return parser.parse_args()


def measure(bench: Bench, contender, number: int, figures: dict):
    print(f"round {number + 1}, {contender.name}", flush=True)
    bench.sent = 0
    contender.start(bench.folder / f"{number}-{contender.name}", bench.upstream_port)
    try:
        for case in CASES:
            bench.load(contender, case.warm_up())
            delay = bench.load(contender, case)["exchange"]
            figures.setdefault((case.name, contender.name), []).append((delay["p50"], delay["p99"]))
    finally:
        contender.stop()
    contender.check_records(bench.sent)


if __name__ == "__main__":
    main()
