"""Asks DuckDB: the files of statements are run, and what the last one answers is printed as JSON."""

import json
import sys

import duckdb

connection = duckdb.connect()
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        answered = connection.execute(file.read())
print(json.dumps(answered.fetchall()))
