CREATE TABLE budgets (
  id         TEXT PRIMARY KEY,
  scope      TEXT NOT NULL,     -- organisation, team, user, key
  name       TEXT NOT NULL,     -- of the team, person or key; empty: the organisation
  models     TEXT NOT NULL,     -- globs, separated by commas; empty: all
  amount     INTEGER NOT NULL,  -- nano-dollars, tokens, requests, exchanges at once
  unit       TEXT NOT NULL,
  window     TEXT NOT NULL,
  zone       TEXT NOT NULL,
  raise_by   INTEGER,
  raise_until_ms INTEGER,
  created_ms INTEGER NOT NULL
);

-- What was spent of a budget in a window.
CREATE TABLE spent (
  budget    TEXT NOT NULL,
  begins_ms INTEGER NOT NULL,
  amount    INTEGER NOT NULL,
  PRIMARY KEY (budget, begins_ms)
) WITHOUT ROWID;

-- Processes that have leases; where the time has passed, their leases have lapsed.
CREATE TABLE holders (
  node       TEXT NOT NULL,
  process    TEXT NOT NULL,
  expires_ms INTEGER NOT NULL,
  report     INTEGER NOT NULL,  -- the number of its last one; 0: it has made none
  through_ms INTEGER NOT NULL,  -- up to when all is told that was spent
  PRIMARY KEY (node, process)
) WITHOUT ROWID;

CREATE TABLE leases (
  budget    TEXT NOT NULL,
  begins_ms INTEGER NOT NULL,
  node      TEXT NOT NULL,
  process   TEXT NOT NULL,
  amount    INTEGER NOT NULL,
  PRIMARY KEY (budget, begins_ms, node, process)
) WITHOUT ROWID;
