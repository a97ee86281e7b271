"""What is measured: request bodies, and what is done with them."""

import json
import random
from dataclasses import dataclass, replace
from pathlib import Path

MARK = "@" * 16  # the load fills it anew for every exchange
BODY_BYTES = {"2 KB": 2_048, "10 KB": 10_240, "100 KB": 102_400, "1 MB": 1_048_576}

WORDS = """the a of to in is that it for as was with be by on not he his but at are this have from or
had an they which one you were all her she there would their we him been has when who will no more if
out so up said what its about than into them can only other time new some could these two may first then
let fn mut self return match impl struct pub use async await move where loop break Result Option String
Vec None Some Ok Err src/lib.rs src/main.rs cargo test build error warning expected found line column
{ } ( ) [ ] => -> :: ; , . = == != += && || & * + - / % 0 1 2 3 10 64 128 0x7f // ///""".split()


@dataclass(frozen=True)
class Case:
    """One workload, as the load is told."""

    name: str
    body: str  # of BODY_BYTES
    count: int  # exchanges a round
    connections: int = 8
    rate: int = 0  # exchanges a second; 0: as fast as they are answered
    transport: str = "http"  # or "ws"
    answer: str = "json"
    events: int = 0  # an answer's
    seen: float = 0.0  # which part of the body is the same in every exchange
    goal: float | None = None  # of what the serving threads cost, times nginx

    @property
    def target(self):
        events = f"&events={self.events}" if self.events else ""
        prefix = "ws:" if self.transport == "ws" else ""
        return f"{prefix}/v1/responses?answer={self.answer}{events}"

    @property
    def body_file(self):
        return f"{self.body}-{self.seen}-{self.transport}.json"

    def shortened(self):
        """The same, for a quick look."""
        return replace(self, count=max(self.count // 8, self.connections))

    def warm_up(self):
        """What is sent before: it fills caches and pools, and is not measured."""
        answer, events = ("burst", 1) if self.transport == "ws" else ("json", 0)
        return replace(self, count=max(self.count // 8, self.connections), rate=0, answer=answer, events=events)


# Processor time: closed loop, so that the proxy is busy and wakes little.
WORK = [
    Case("exchange, 2 KB", "2 KB", 8_000, goal=1.25),
    Case("exchange, 100 KB", "100 KB", 1_500, goal=1.4),
    Case("exchange, 1 MB", "1 MB", 120, goal=2.2),
    Case("exchange, 1 MB, 95 % seen before", "1 MB", 120, seen=0.95, goal=1.2),
    Case("event of a burst", "2 KB", 60, connections=4, answer="burst", events=2_000, goal=0.8),
    Case("event written alone", "2 KB", 24, connections=4, answer="writes", events=2_000),
    Case("event, 100 streams of 50/s", "2 KB", 100, connections=100, answer="paced&gap=20000", events=100),
    Case("frame of a burst", "2 KB", 60, connections=4, transport="ws", answer="burst", events=2_000, goal=0.8),
    Case("frame, 100 sockets of 50/s", "2 KB", 100, connections=100, transport="ws", answer="paced&gap=20000", events=100),
]
# Delay: open loop at a rate that leaves the proxy idle most of the time.
DELAY = [
    Case("exchange, 2 KB, 1,000/s", "2 KB", 2_000, connections=16, rate=1_000),
    Case("exchange, 10 KB, 1,000/s", "10 KB", 2_000, connections=16, rate=1_000),
    Case("exchange, 100 KB, 300/s", "100 KB", 600, connections=16, rate=300),
    Case("exchange, 1 MB, 20/s", "1 MB", 60, connections=8, rate=20),
    # Started a millisecond apart: 20 streams of 50 events a second never send together.
    Case("event, 20 streams of 50/s", "2 KB", 20, connections=20, rate=1_000, answer="paced&gap=20000", events=100),
    Case("frame, 20 sockets of 50/s", "2 KB", 20, connections=20, rate=1_000, transport="ws", answer="paced&gap=20000", events=100),
]
# Memory: streams that say something once a second. No more than one key may have open.
IDLE = Case("idle stream", "2 KB", 200, connections=200, answer="paced&gap=1000000", events=3)
IDLE_AFTER = 2  # seconds
# As many streams at once as one process may have with 20,000 open files: they open within five
# seconds, say something after four, eight and twelve, and end.
LIVE = Case("live stream", "2 KB", 9_500, connections=9_500, rate=2_000, answer="paced&gap=4000000", events=2)


def write_bodies(folder: Path):
    for case in [*WORK, *DELAY, IDLE, LIVE]:
        (folder / case.body_file).write_text(body(case))


def body(case: Case) -> str:
    """A Responses request of exactly the case's length whose first part is always the same."""
    length, seen = BODY_BYTES[case.body], case.seen
    words = random.Random(length)
    conversation = "bench" if seen else MARK
    request = {"type": "response.create"} if case.transport == "ws" else {}
    request |= {
        "model": "gpt-5.1-codex",
        "instructions": text(words, min(400, length // 5)),
        "input": [],
        "tools": [],
        "store": False,
        "stream": True,
        "prompt_cache_key": conversation,
    }
    while (missing := length - len(json.dumps(request))) > 200:
        fresh = length - missing >= seen * length
        request["input"].append(item(words, min(missing - 150, 1_500), fresh))
    return json.dumps(request).ljust(length)


def item(words: random.Random, length: int, fresh: bool) -> dict:
    said = (MARK + " " if fresh else "") + text(words, length)
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": said}]}


def text(words: random.Random, length: int) -> str:
    said = ""
    while len(said) < length:
        said += words.choice(WORDS) + " "
    return said[:length]
