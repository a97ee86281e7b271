#!/usr/bin/env python3
"""What detect-secrets makes of the same bodies: megabytes a second, and what it finds.

    pip install detect-secrets
    scripts/scan-peer.py FOLDER

scans the files below the folder with all of its plugins, as its own command does.
`cargo bench -p redact -- FOLDER --list` is the same for our scanner.
"""

import os
import sys
import time

from detect_secrets import SecretsCollection
from detect_secrets.settings import default_settings

MOST = 4_000_000


def files(folder):
    size = 0
    for path, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            size += os.path.getsize(os.path.join(path, name))
            yield os.path.join(path, name), size
            if size > MOST:
                return


def main():
    paths = list(files(sys.argv[1]))
    size = paths[-1][1] / 1e6
    secrets = SecretsCollection()
    with default_settings():
        begin = time.process_time()
        for path, _ in paths:
            secrets.scan_file(path)
        took = time.process_time() - begin
    found = sum(1 for _ in secrets)
    print(f"detect-secrets {size / took:.2f} MB/s, {found} found in {size:.1f} MB: {found / size:.1f} a MB")


main()
