#!/usr/bin/env python3
"""Measures codex-proxy against nginx, HAProxy and no proxy at all, in one run. See docs/benchmarks.md.

Example: cargo build --release -p codex-proxy && python3 bench/bench.py --write docs/benchmarks.md
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import report
from cases import DELAY, IDLE, IDLE_AFTER, LIVE, WORK, Case, write_bodies
from contenders import OTHER_CORE, Direct, Haproxy, Nginx, Ours, on_core

HERE = Path(__file__).resolve().parent


def main():
    options = parse()
    require()
    with tempfile.TemporaryDirectory(prefix="codex-proxy-bench-") as folder:
        bench = Bench(Path(folder), options)
        try:
            rounds = [bench.round(number) for number in range(options.rounds)]
            live = bench.live()
        finally:
            bench.close()
    text = report.markdown(rounds, live, versions(options.binary))
    print(text)
    if options.write:
        report.write(options.write, text)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured [5]")
    parser.add_argument("--quick", action="store_true", help="one round of an eighth of the load: shows that it works")
    parser.add_argument("--case", default="", metavar="REGEX", help="only cases whose name matches")
    parser.add_argument("--binary", type=Path, default=HERE.parent / "target/release/codex-proxy", help="the program")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables between the marks of this document")
    options = parser.parse_args()
    options.rounds = 1 if options.quick else options.rounds
    if not options.binary.exists():
        parser.error(f"{options.binary} is not there: cargo build --release -p codex-proxy")
    return options


def require():
    missing = [package for program, package in (("nginx", "nginx-light"), ("haproxy", "haproxy"), ("cc", "gcc")) if not shutil.which(program)]
    if missing:
        sys.exit(f"bench: install {' and '.join(missing)} first, as in: apt-get install {' '.join(missing)}")
    if len(os.sched_getaffinity(0)) < 2:
        say("one core only: load and proxy get into each other's way, and the figures mean little")


class Bench:
    """The upstream, the load, and where everything lies."""

    def __init__(self, folder: Path, options):
        self.folder, self.options = folder, options
        for program in ("load", "upstream"):
            command = ["cc", "-std=gnu11", "-O2", "-Wall", "-o", folder / program, HERE / f"{program}.c"]
            subprocess.run(command, check=True)
        write_bodies(folder)
        self.upstream = subprocess.Popen([folder / "upstream"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         preexec_fn=on_core(OTHER_CORE))
        self.upstream_port = int(self.upstream.stdout.readline())

    def close(self):
        self.upstream.stdin.close()
        self.upstream.wait(timeout=10)

    def round(self, number: int) -> dict:
        """Each contender once, every round another first; by case and contender what was measured."""
        contenders = [Direct(), Nginx(), Haproxy(), Ours(self.options.binary)]
        first = number % len(contenders)
        figures = {}
        for contender in contenders[first:] + contenders[:first]:
            say(f"round {number + 1} of {self.options.rounds}: {contender.name}")
            folder = self.folder / f"{number}-{contender.name}"
            contender.start(folder, self.upstream_port)
            try:
                figures |= self.measure_all(contender)
            finally:
                contender.stop()
            if isinstance(contender, Ours):
                contender.check_records(self.sent)
            shutil.rmtree(folder, ignore_errors=True)
        return figures

    def live(self) -> dict:
        """The most resident kilobytes of each proxy with a great many streams open, which must all end."""
        if not re.search(self.options.case, LIVE.name):
            return {}
        case, figures = LIVE.shortened() if self.options.quick else LIVE, {}
        for contender in (Nginx(), Haproxy(), Ours(self.options.binary)):
            say(f"{case.connections} live streams: {contender.name}")
            folder = self.folder / f"live-{contender.name}"
            contender.start(folder, self.upstream_port, case.connections + 500)
            try:
                self.sent, streams, most = 0, self.start_load(contender, case), 0
                while streams.poll() is None:
                    most = max(most, contender.memory_kb())
                    time.sleep(0.2)
                self.finish_load(contender, case, streams)
                figures[contender.name] = most
            finally:
                contender.stop()
            if isinstance(contender, Ours):
                contender.check_records(self.sent)
            shutil.rmtree(folder, ignore_errors=True)
        return figures

    def measure_all(self, contender) -> dict:
        self.sent, figures = 0, {}
        memory = self.memory(contender) if contender.process else {}
        for case in self.cases(DELAY):
            self.load(contender, case.warm_up())
            figures[case.name, contender.name] = self.load(contender, case)["event" if case.events else "exchange"]
        for case in self.cases(WORK) if contender.process else []:
            self.load(contender, case.warm_up())
            figures[case.name, contender.name] = self.cost(contender, case)
        if contender.process:
            figures["memory", contender.name] = memory | {"after the round": contender.memory_kb()}
        return figures

    def memory(self, contender) -> dict:
        """Resident kilobytes of a process that has just started."""
        at_start = contender.memory_kb()
        self.load(contender, WORK[0].warm_up())
        warm = contender.memory_kb()
        streams = self.start_load(contender, IDLE)
        time.sleep(IDLE_AFTER)
        idle = contender.memory_kb()
        self.finish_load(contender, IDLE, streams)
        return {"at start": at_start, "more for each idle stream": (idle - warm) / IDLE.connections}

    def cases(self, cases) -> list[Case]:
        chosen = [case for case in cases if re.search(self.options.case, case.name)]
        return [case.shortened() for case in chosen] if self.options.quick else chosen

    def cost(self, contender, case: Case) -> dict:
        """Processor time of one exchange, or of one event, in microseconds, by part."""
        before = contender.settled_ns()
        self.load(contender, case)
        after = contender.settled_ns()
        units = case.count * (case.events or 1)
        spent = {part: (after[part] - before[part]) / units / 1000 for part in after}
        return spent | {"serving": spent["all"] - spent.get("archive", 0) - spent.get("store", 0)}

    def load(self, contender, case: Case) -> dict:
        return self.finish_load(contender, case, self.start_load(contender, case))

    def start_load(self, contender, case: Case) -> subprocess.Popen:
        command = [self.folder / "load", str(contender.port), case.target, self.folder / case.body_file,
                   str(case.connections), str(case.count), str(case.rate), *contender.headers]
        return subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=on_core(OTHER_CORE))

    def finish_load(self, contender, case: Case, load: subprocess.Popen) -> dict:
        said, _ = load.communicate()
        if load.returncode:
            sys.exit(f"bench: {contender.name} failed at: {case.name}")
        result = json.loads(said)
        self.sent += case.count
        events = result.get("event", {}).get("count", 0)
        if events != case.count * case.events:
            sys.exit(f"bench: of {case.count * case.events} events {events} came through {contender.name}")
        return result


def versions(binary: Path) -> dict:
    nginx = subprocess.run(["nginx", "-v"], stderr=subprocess.PIPE, text=True).stderr
    ours = subprocess.run([binary, "--version"], stdout=subprocess.PIPE, text=True).stdout
    haproxy = subprocess.run(["haproxy", "-v"], stdout=subprocess.PIPE, text=True).stdout
    return {"codex-proxy": ours.split()[-1], "nginx": nginx.strip().split("/")[-1], "HAProxy": haproxy.split()[2]}


def say(text: str):
    print(f"bench: {text}", file=sys.stderr)


if __name__ == "__main__":
    main()
