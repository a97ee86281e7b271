"""What came out, as Markdown."""

import os
import platform
import time
from pathlib import Path
from statistics import median

from cases import DELAY, LIVE, WORK

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def markdown(rounds: list[dict], live: dict, versions: dict) -> str:
    tables = [work(rounds), delay(rounds), memory(rounds, live)]
    return "\n\n".join([machine(len(rounds), versions), *("\n".join(lines) for lines in tables if len(lines) > 2)])


def machine(rounds: int, versions: dict) -> str:
    programs = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (f"{time.strftime('%Y-%m-%d')}; {programs}; {os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}; "
            f"medians of {rounds} interleaved round{'s' if rounds > 1 else ''}.")


def work(rounds: list[dict]) -> list[str]:
    lines = table("processor time, µs", "nginx", "HAProxy", "codex-proxy serving", "× nginx", "aim", "+ archive's threads",
                  "+ store's", "whole process, × nginx")
    for case in selected(WORK, rounds):
        def cost(who, part):
            return median(figures[case.name, who][part] for figures in rounds)

        def ratio(part):
            pairs = ((f[case.name, "codex-proxy"][part], f[case.name, "nginx"]["all"]) for f in rounds)
            return median(ours / nginx for ours, nginx in pairs)

        nginx, serving = cost("nginx", "all"), cost("codex-proxy", "serving")
        archive, store = cost("codex-proxy", "archive"), cost("codex-proxy", "store")
        aim = f"≤ {case.goal}" if case.goal else ""
        lines.append(row(case.name, micros(nginx), micros(cost("haproxy", "all")), micros(serving), f"**{ratio('serving'):.2f}**", aim, micros(archive),
                         micros(store), f"{ratio('all'):.2f}"))
    return lines


def delay(rounds: list[dict]) -> list[str]:
    lines = table("delay, µs: p50 / p99", "direct", "nginx adds", "HAProxy adds", "codex-proxy adds")
    for case in selected(DELAY, rounds):
        def pair(who, less=None):
            def value(figures, part):
                return figures[case.name, who][part] - (figures[case.name, less][part] if less else 0)

            return " / ".join(f"{median(value(figures, part) for figures in rounds):,.0f}" for part in ("p50", "p99"))

        lines.append(row(case.name, pair("direct"), pair("nginx", "direct"), pair("haproxy", "direct"), pair("codex-proxy", "direct")))
    return lines


def memory(rounds: list[dict], live: dict) -> list[str]:
    def kilobytes(who, when):
        return f"{median(figures['memory', who][when] for figures in rounds):,.0f}"

    proxies = ("nginx", "haproxy", "codex-proxy")
    lines = table("resident memory, KB", "nginx", "HAProxy", "codex-proxy")
    for when in ("at start", "more for each idle stream", "after the round"):
        lines.append(row(when, *(kilobytes(who, when) for who in proxies)))
    if live:
        lines.append(row(f"with {LIVE.connections:,} live streams", *(f"{live[who]:,}" for who in proxies)))
    return lines


def selected(cases, rounds: list[dict]):
    return [case for case in cases if (case.name, "nginx") in rounds[0]]


def table(*heads: str) -> list[str]:
    return [row(*heads), row("---", *["---:"] * (len(heads) - 1))]


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def micros(value: float) -> str:
    return f"{value:,.0f}" if value >= 20 else f"{value:.2f}"


def write(path: Path, text: str):
    """Puts the text between the two marks of a document."""
    document = path.read_text()
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"bench: {path} has no {BEGIN} followed by {END}")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
