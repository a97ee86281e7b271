"""Who is measured: each stands between the load and the upstream, on a core of its own."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

PROXY_CORE, OTHER_CORE = 0, 1
START_TIMEOUT = 10

NGINX_CONF = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log error;
# More than can be open: of those it has, nginx keeps a sixteenth free by closing idle ones.
events {{ worker_connections 24000; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 0;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream api {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
  map $http_upgrade $connection_header {{ default upgrade; "" ""; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://api; proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_header;
      proxy_buffering off; proxy_request_buffering off;
    }}
  }}
}}
"""

HAPROXY_CONF = """
global
  nbthread 1
  maxconn 9600
defaults
  mode http
  option http-no-delay
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 60s
frontend load
  bind 127.0.0.1:{port} backlog 4096
  default_backend api
backend api
  server upstream 127.0.0.1:{upstream}
"""


def on_core(core: int):
    """For `preexec_fn`: pins the process that is about to start."""
    cores = os.sched_getaffinity(0)
    return lambda: os.sched_setaffinity(0, {core} if core in cores else cores)


class Direct:
    """No proxy: what the others are compared with for delay."""

    name, headers, process = "direct", [], None

    def start(self, _folder: Path, upstream_port: int, _room: int = 0):
        self.port = upstream_port

    def stop(self):
        pass


class Server:
    """A proxy that runs as a process of ours."""

    headers = []

    def processor_ns(self) -> dict:
        """Processor time so far: of `all` threads, those that ended too, and of parts."""
        return {"all": sum(process_ns(pid) for pid in self.pids())}

    def settled_ns(self) -> dict:
        """The same, once what was put off has been done."""
        before = self.processor_ns()
        for _ in range(100):
            time.sleep(0.1)
            after = self.processor_ns()
            if after["all"] - before["all"] < 1_000_000:
                return after
            before = after
        raise SystemExit(f"bench: {self.name} does not come to rest")

    def memory_kb(self) -> int:
        statuses = (Path(f"/proc/{pid}/status").read_text() for pid in self.pids())
        return sum(int(re.search(r"VmRSS:\s+(\d+)", status)[1]) for status in statuses)

    def pids(self) -> list[int]:
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)


class Nginx(Server):
    """nginx that passes everything on at once and keeps nothing."""

    name = "nginx"

    def start(self, folder: Path, upstream_port: int, _room: int = 0):
        folder.mkdir()
        self.port = free_port()
        conf = folder / "nginx.conf"
        conf.write_text(NGINX_CONF.format(folder=folder, upstream=upstream_port, port=self.port))
        # Named, for what nginx says before it has read where its log is.
        command = ["nginx", "-p", folder, "-c", conf, "-e", folder / "error.log"]
        self.process = subprocess.Popen(command, preexec_fn=on_core(PROXY_CORE))
        wait_for(lambda: len(self.pids()) == 2, "nginx")


class Haproxy(Server):
    """HAProxy that passes everything on at once and keeps nothing."""

    name = "haproxy"

    def start(self, folder: Path, upstream_port: int, _room: int = 0):
        folder.mkdir()
        self.port = free_port()
        conf = folder / "haproxy.cfg"
        conf.write_text(HAPROXY_CONF.format(upstream=upstream_port, port=self.port))
        self.process = subprocess.Popen(["haproxy", "-db", "-f", conf], preexec_fn=on_core(PROXY_CORE))
        wait_for(lambda: listens(self.port), "haproxy")


class Ours(Server):
    """codex-proxy on a fresh data folder, with everything on: key, record, bodies, meter."""

    name = "codex-proxy"
    # Shown apart from the serving threads, as far as there are such threads.
    archive_threads, store_threads = ("spool", "publish"), ("store",)

    # What it is started under, and settings besides the defaults.
    under, settings = [], {}

    def __init__(self, binary: Path):
        self.binary = binary

    def start(self, folder: Path, upstream_port: int, room: int = 0):
        """With default settings, or with room for so many exchanges of one key."""
        folder.mkdir()
        self.data = folder / "data"
        key = self.run("key", "create", "--user", "bench@example.com").strip()
        self.headers = [f"Authorization: Bearer {key}"]
        command = [*self.under, self.binary, "--data", self.data, "serve", "--listen", "127.0.0.1:0",
                   "--upstream-url", f"http://127.0.0.1:{upstream_port}/v1"]
        said = folder / "serve.log"
        self.process = subprocess.Popen(command, stderr=said.open("w"), preexec_fn=on_core(PROXY_CORE),
                                        env=clean_environment(room) | self.settings)
        said_so = wait_for(lambda: re.search(r"listens on http://127.0.0.1:(\d+)", said.read_text()), said.read_text)
        self.port = int(said_so[1])

    def processor_ns(self) -> dict:
        archive, store = self.threads_ns(self.archive_threads), self.threads_ns(self.store_threads)
        return super().processor_ns() | {"archive": archive, "store": store}

    def threads_ns(self, names: tuple[str, ...]) -> int:
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        named = (task for task in tasks if (task / "comm").read_text().strip() in names)
        return sum(int((task / "schedstat").read_text().split()[0]) for task in named)

    def run(self, *arguments: str) -> str:
        command = [self.binary, "--data", self.data, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=clean_environment())
        if done.returncode:
            raise SystemExit(f"bench: codex-proxy {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def check_records(self, exchanges: int):
        """Every exchange has left a complete record: nobody benches a refusal."""
        records = json.loads(self.run("audit", "list", "--limit", "0", "--format", "json"))
        whole = [r for r in records if r["outcome"] == "complete" and r["usage"] == "exact" and r["status"] == 200]
        if not len(whole) == len(records) == exchanges:
            raise SystemExit(f"bench: {exchanges} exchanges left {len(records)} records, {len(whole)} of them complete")


def clean_environment(room: int = 0) -> dict:
    """Without settings of whoever runs this."""
    names = ("CODEX_PROXY_LIMITS_EXCHANGES", "CODEX_PROXY_LIMITS_EXCHANGES_PER_KEY") if room else ()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CODEX_PROXY_")}
    return kept | {"OPENAI_API_KEY": "sk-bench"} | {name: str(room) for name in names}


def process_ns(pid: int) -> int:
    # The kernel's number for the processor clock of another process: clock_getcpuclockid(3).
    return time.clock_gettime_ns(~pid << 3 | 2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition, who):
    for _ in range(START_TIMEOUT * 50):
        if result := condition():
            return result
        time.sleep(0.02)
    raise SystemExit(f"bench: does not start: {who() if callable(who) else who}")
