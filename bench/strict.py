#!/usr/bin/env python3
"""Measures strict mode beside OpenAI's own `codex responses-api-proxy`. See docs/benchmarks.md.

Example: cargo build --release -p codex-proxy && sh crates/proxy/tests/clients/install.sh && python3 bench/strict.py
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")
KEY = b"sk-bench-0123456789abcdefghijklmnopqrstuvwxyz\n"

# Name, bytes of the request's body, how many exchanges one round has.
EXCHANGES = (("exchange, 2 KB", 2_000, 2_000), ("exchange, 100 KB", 100_000, 500), ("exchange, 1 MB", 1_000_000, 100))
EVENTS, PAUSE = 20, 0.02


def main():
    options = parse()
    original = [str(find_codex(options.clients)), "responses-api-proxy"]
    contenders = {"original": original, "strict": [str(options.binary.resolve()), "strict"]}
    upstream = Upstream()
    figures = {}
    for number in range(options.rounds):
        for name, words in contenders.items():
            print(f"round {number + 1}, {name}", flush=True)
            for case, value in measure(words, upstream.port, options.share).items():
                figures.setdefault(case, {}).setdefault(name, []).append(value)
    print(f"| medians of {options.rounds} interleaved rounds | original | strict |\n| --- | ---: | ---: |")
    for case, by_name in figures.items():
        original, strict = (statistics.median(by_name[name]) for name in contenders)
        print(f"| {case} | {original:,.0f} | {strict:,.0f} |")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured [5]")
    parser.add_argument("--share", type=float, default=1.0, help="part of the load [1.0]")
    parser.add_argument("--binary", type=Path, default=HERE.parent / "target/release/codex-proxy", help="the program")
    parser.add_argument("--clients", type=Path, default=HERE.parent / "target/clients", help="where Codex is installed")
    return parser.parse_args()


def find_codex(clients):
    return next(clients.resolve().glob("node_modules/@openai/codex-*/vendor/*/bin/codex"))


def measure(words, upstream, share):
    """One start of a proxy: processor time an exchange, delays, memory."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        url = f"http://127.0.0.1:{upstream}/v1/responses"
        process = subprocess.Popen(
            [*words, "--server-info", "info.json", "--upstream-url", url],
            cwd=folder, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env={"PATH": os.environ["PATH"], "HOME": folder},
        )
        process.stdin.write(KEY)
        process.stdin.close()
        while b"listening" not in process.stderr.readline():
            pass
        figures = {"start, ms": (time.monotonic() - began) * 1e3}
        info = json.loads(Path(folder, "info.json").read_text())
        try:
            for name, size, count in EXCHANGES:
                figures.update(exchange(info, name, size, max(1, int(count * share))))
            figures.update(stream(info))
            figures["resident memory after it, KB"] = memory(info["pid"])
        finally:
            process.kill()
            process.wait()
        return figures


def exchange(info, name, size, count):
    client = Client(info["port"])
    body = json.dumps({"model": "m", "input": "x" * size}).encode()
    delays = []
    for index in range(count + 1):
        if index == 1:
            before = busy(info["pid"])
        began = time.monotonic()
        client.ask(body)
        client.first()
        client.rest()
        delays.append(time.monotonic() - began)
    spent = busy(info["pid"]) - before
    return {
        f"{name}: processor time, µs": spent / count * 1e6,
        f"{name}: whole exchange, µs, p50": statistics.median(delays[1:]) * 1e6,
    }


def stream(info):
    """A stream of events, each some time after the one before."""
    firsts = []
    for _ in range(5):
        client = Client(info["port"])
        began = time.monotonic()
        client.ask(b'{"stream":true}')
        client.first()
        firsts.append(time.monotonic() - began)
        client.rest()
    name = f"first byte of a stream of {EVENTS * PAUSE * 1e3:.0f} ms, ms, p50"
    return {name: statistics.median(firsts) * 1e3}


def busy(pid):
    """Seconds of processor time, those of ended threads too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.read = b""

    def ask(self, body):
        head = f"POST /v1/responses HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body)

    def first(self):
        self.read += self.socket.recv(65536)

    def rest(self):
        """To the end of an answer, which has a length or is chunked."""
        while not self.is_whole():
            self.first()
        self.read = b""

    def is_whole(self):
        head, end, body = self.read.partition(b"\r\n\r\n")
        if not end:
            return False
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return len(body) >= int(line.split(b":")[1])
        return body.endswith(b"0\r\n\r\n")


class Upstream:
    """Answers with 2 KB, or with events where the request is a small one for a stream."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            stream, _ = self.listener.accept()
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(stream,), daemon=True).start()

    def serve(self, stream):
        whole = b'{"id":"resp_1","output":"' + b"x" * 2_000 + b'"}'
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(whole)}\r\n\r\n"
        file = stream.makefile("rb")
        while True:
            length = 0
            while (line := file.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            if not line:
                return
            body = file.read(length)
            if body == b'{"stream":true}':
                self.events(stream)
            else:
                stream.sendall(head.encode() + whole)

    def events(self, stream):
        stream.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        event = b'data: {"type":"response.output_text.delta","delta":"word"}\n\n'
        for _ in range(EVENTS):
            stream.sendall(b"%x\r\n%s\r\n" % (len(event), event))
            time.sleep(PAUSE)
        stream.sendall(b"0\r\n\r\n")


if __name__ == "__main__":
    main()
