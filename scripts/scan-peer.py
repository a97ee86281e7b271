#!/usr/bin/env python3
"""What detect-secrets makes of the same bodies: megabytes a second, and what it finds.

    pip install detect-secrets
    scripts/scan-peer.py FOLDER

scans the files below the folder line by line, with all of its plugins, as its own command does.
`cargo bench -p redact -- FOLDER --list` is the same for our scanner.
"""

import os
import sys
import time

from detect_secrets.core.scan import scan_line
from detect_secrets.settings import default_settings


def lines(folder, limit):
    size = 0
    for path, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            try:
                with open(os.path.join(path, name), encoding="utf-8") as file:
                    text = file.read()
            except (OSError, UnicodeDecodeError):
                continue
            size += len(text)
            yield from text.splitlines()
            if size > limit:
                return


def main():
    all_lines = list(lines(sys.argv[1], 4_000_000))
    size = sum(len(line) + 1 for line in all_lines) / 1e6
    with default_settings():
        begin = time.process_time()
        found = sum(len(list(scan_line(line))) for line in all_lines)
        took = time.process_time() - begin
    print(f"detect-secrets {size / took:.2f} MB/s, {found} found in {size:.1f} MB: {found / size:.1f} a MB")


main()
