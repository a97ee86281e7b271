-- One row: grows with every change to keys, so that other processes re-read them.
CREATE TABLE change (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL);
INSERT INTO change VALUES (1, 1);

-- At most one row: which secret the hashes below belong to.
CREATE TABLE secret (one INTEGER PRIMARY KEY DEFAULT 1 CHECK (one = 1), fingerprint BLOB NOT NULL);

CREATE TABLE teams (name TEXT PRIMARY KEY, created_ms INTEGER NOT NULL);

CREATE TABLE keys (
  id         TEXT PRIMARY KEY,
  hash       BLOB NOT NULL UNIQUE,
  prefix     TEXT NOT NULL,
  user       TEXT NOT NULL,
  team       TEXT REFERENCES teams (name),
  label      TEXT,
  models     TEXT NOT NULL,     -- globs, separated by commas; empty: all
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER,
  state      TEXT NOT NULL CHECK (state IN ('active', 'disabled', 'revoked'))
);
CREATE INDEX keys_by_user ON keys (user);

CREATE TABLE refusals (
  key_id  TEXT NOT NULL,
  word    TEXT NOT NULL,
  count   INTEGER NOT NULL,
  last_ms INTEGER NOT NULL,
  PRIMARY KEY (key_id, word)
);
