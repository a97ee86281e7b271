#!/usr/bin/env python3
"""Counts the instructions that codex-proxy spends on an exchange and on an event, under callgrind.

Unlike times these figures hardly depend on what else a machine does: two runs agree within a percent.
They leave out the kernel. Each is printed beside the reference in instructions.json; one that is more
than a tenth above it ends the run with exit code 1. See docs/benchmarks.md.

Example: cargo build --release -p codex-proxy && python3 bench/instructions.py
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from bench import HERE, Bench
from cases import WORK
from contenders import Ours

REFERENCE = HERE / "instructions.json"
# Exchanges counted; before that a third of them fills caches and pools. One connection: with several
# it is a matter of luck which exchanges share a write.
CASES = {"exchange, 2 KB": 90, "exchange, 100 KB": 30, "event of a burst": 6, "frame of a burst": 6}
MOST_ABOVE = 1.10
# The first case again, where it counts in budgets: reserved before, settled and reported after.
BUDGETED = "2 KB, two budgets"
BUDGETS = (["--organisation", "1000000usd/month"], ["--user", "bench@example.com", "9000000000tokens/day"])


class Counted(Ours):
    """codex-proxy under callgrind."""

    def __init__(self, binary: Path, folder: Path):
        super().__init__(binary)
        self.dumps = folder / "dumps"
        self.dumps.mkdir()
        self.under = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={self.dumps}/dump"]

    def counted(self) -> int:
        """Instructions of all threads since the last call. No journal is full or old meanwhile, so that
        those of the archive rest."""
        command = ["callgrind_control", "--dump", str(self.process.pid)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            dumps = list(self.dumps.glob("dump.*"))
            totals = [re.search(r"^totals: (\d+)", dump.read_text(errors="replace"), re.M) for dump in dumps]
            if dumps and all(totals):
                for dump in dumps:
                    dump.unlink()
                return sum(int(total[1]) for total in totals)
            time.sleep(0.1)
        raise SystemExit("instructions: callgrind writes no dump")


def main():
    options = parse()
    for program, package in (("valgrind", "valgrind"), ("cc", "gcc")):
        if not shutil.which(program):
            sys.exit(f"instructions: install {package} first, as in: apt-get install {package}")
    with tempfile.TemporaryDirectory(prefix="codex-proxy-instructions-") as folder:
        figures = count(Path(folder), options.binary)
    if options.write:
        REFERENCE.write_text(json.dumps(figures, indent=2) + "\n")
    sys.exit(report(figures, json.loads(REFERENCE.read_text())))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, default=HERE.parent / "target/release/codex-proxy", help="the program")
    parser.add_argument("--write", action="store_true", help="make the figures the reference")
    return parser.parse_args()


def count(folder: Path, binary: Path) -> dict[str, int]:
    bench = Bench(folder, SimpleNamespace(binary=binary))
    proxy = Counted(binary, folder)
    proxy.start(folder / "proxy", bench.upstream_port)
    figures, bench.sent = {}, 0
    try:
        for case in WORK:
            if exchanges := CASES.get(case.name):
                figures[case.name] = one(bench, proxy, case, exchanges)
        for budget in BUDGETS:
            proxy.run("budget", "set", *budget)
        figures[BUDGETED] = one(bench, proxy, WORK[0], CASES[WORK[0].name])
    finally:
        proxy.stop()
        bench.close()
    proxy.check_records(bench.sent)
    return figures


def one(bench: Bench, proxy: Counted, case, exchanges: int) -> int:
    """Instructions of one exchange, or of one event in it."""
    case = replace(case, connections=1, count=exchanges)
    bench.load(proxy, replace(case, count=exchanges // 3))
    proxy.counted()
    bench.load(proxy, case)
    return proxy.counted() // exchanges // (case.events or 1)


def report(figures: dict[str, int], reference: dict[str, int]) -> int:
    worst = 0.0
    print(f"{'instructions':<20}{'now':>12}{'reference':>12}{'':>8}")
    for name, now in figures.items():
        if name not in reference:
            print(f"{name:<20}{now:>12,}{'new':>12}")
            continue
        ratio = now / reference[name]
        worst = max(worst, ratio)
        print(f"{name:<20}{now:>12,}{reference[name]:>12,}{ratio - 1:>+8.1%}")
    if worst > MOST_ABOVE:
        print("instructions: more than the reference; find out why, or make it the reference with --write", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    main()
