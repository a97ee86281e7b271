"""How long a report of a month with ten million records takes, and how much memory.

    python3 bench/month.py [RECORDS]

Makes an archive of that many records in a temporary folder (files of records as the gateway writes
them, twenty a day), then asks for reports with the released program: the first adds all of it up, the
others read the sums that are kept. Ends with exit code 1 where a sum is wrong, where a report after the
first takes five seconds, or where one takes 512 MiB.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = Path(__file__).parent.parent / "target/release/codex-proxy"
DAYS = 30
FILES_A_DAY = 20
MODELS = ["gpt-6.1-sol", "gpt-6-luna", "gpt-5.5", "gpt-5.1-codex"]

LINE = (
    '{"id":"%s","time":"%s","key_id":"key_%d","user":"user%d@example.com","team":"team%d",'
    '"endpoint":"POST /v1/responses","transport":"sse","request_kind":"turn","model":"%s",'
    '"upstream_model":"%s","service_tier":"default","status":200,"outcome":"complete",'
    '"source":"upstream","refusal":null,"altered":"none","input_tokens":%d,'
    '"cached_input_tokens":%d,"cache_write_tokens":0,"output_tokens":%d,"reasoning_tokens":10,'
    '"total_tokens":%d,"usage":"exact","cost_usd":"0.%09d","priced":true,"took_ms":4000,'
    '"first_byte_ms":300,"request_bytes":90000,"response_bytes":9000,"content_encoding":null,'
    '"session_id":"session-%d","thread_id":"session-%d","turn_id":null,"parent_thread_id":null,'
    '"response_id":"resp_%d","previous_response_id":null,"connection_id":null,"subagent":null,'
    '"repo":"repo%d","commit":null,"client":"codex_cli_rs","client_version":"0.169.0","tags":{},'
    '"findings":[],"node":"bench","frame":[0,100]}\n'
)


# Of each report but the first, and of all.
MOST_SECONDS, MOST_MIB = 5, 512


def make(data: Path, records: int) -> int:
    """How many there are: as many as go evenly into the files."""
    each = records // (DAYS * FILES_A_DAY)
    number = 0
    for day in range(1, DAYS + 1):
        folder = data / f"archive/records/year=2026/month=09/day={day:02d}"
        folder.mkdir(parents=True)
        for file in range(FILES_A_DAY):
            lines = []
            for _ in range(each):
                second = int(number * (86400 * DAYS / records)) % 86400
                stamp = f"2026-09-{day:02d}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.000Z"
                # Some people at once, each fifty exchanges in a session.
                user = number % 400
                session = number // 20000 * 400 + user
                model = MODELS[user % 4]
                identity = f"{0x0199 << 32 | number:012x}"
                identity = f"{identity[:8]}-{identity[8:12]}-7000-8000-{number:012x}"
                lines.append(LINE % (
                    identity, stamp, user, user, user % 20, model, model, number % 90000,
                    number % 80000, number % 2000, number % 90000 + number % 2000, number % 10**9,
                    session, session, number, user % 60,
                ))
                number += 1
            path = folder / f"bench-{day:02d}{file:02d}.jsonl.zst"
            packer = subprocess.run(
                ["zstd", "-q", "-1", "-c"], input="".join(lines).encode(), stdout=subprocess.PIPE,
                check=True)
            path.write_bytes(packer.stdout)
    return number


def ask(home: Path, *more: str) -> tuple[float, float, str]:
    """Seconds, MiB at most, and what it said."""
    command = [str(PROGRAM), "report", "2026-09-01", "2026-09-30", *more]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "CODEX_PROXY_DATA": str(home / "data")}
    begin = time.monotonic()
    process = subprocess.Popen(command, env=environment, cwd=home, stdout=subprocess.PIPE)
    said, _ = process.communicate()
    took = time.monotonic() - begin
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    assert process.returncode == 0
    return took, peak, said.decode()


def main() -> None:
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "data").mkdir(mode=0o700)
        begin = time.monotonic()
        records = make(home / "data", records)
        print(f"made {records} records in {time.monotonic() - begin:.0f} s")
        slowest, largest = 0.0, 0.0
        for count, what in enumerate(["user", "user", "team", "model", "day", "hour", "repo", "session"]):
            took, peak, said = ask(home, "--by", what, "--format", "json")
            rows = json.loads(said)
            print(f"report --by {what:8} {took:7.2f} s, {len(rows):7} rows; at most {peak:.0f} MiB so far")
            if sum(row["requests"] for row in rows) != records:
                sys.exit(f"month: the report by {what} has not all {records} records")
            slowest, largest = max(slowest, took if count else 0), max(largest, peak)
        took, peak, said = ask(home, "--verify")
        print(f"report --verify     {took:7.2f} s; {said.strip()}")
        size = (home / "data/rollups.db").stat().st_size
        print(f"rollups.db has {size / 2**20:.0f} MiB")
    if slowest > MOST_SECONDS or largest > MOST_MIB:
        sys.exit(f"month: {slowest:.1f} s and {largest:.0f} MiB are more than {MOST_SECONDS} s or {MOST_MIB} MiB")


if __name__ == "__main__":
    main()
