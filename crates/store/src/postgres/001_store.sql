-- One row: grows with every change to keys and budgets, so that other processes re-read them.
CREATE TABLE codex_proxy.change (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  seq bigint NOT NULL
);
INSERT INTO codex_proxy.change (seq) VALUES (1);

-- At most one row: which secret the hashes below belong to.
CREATE TABLE codex_proxy.secret (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  fingerprint bytea NOT NULL
);

CREATE TABLE codex_proxy.teams (name text PRIMARY KEY, created_ms bigint NOT NULL);

CREATE TABLE codex_proxy.keys (
  id         text PRIMARY KEY,
  hash       bytea NOT NULL UNIQUE,
  prefix     text NOT NULL,
  "user"     text NOT NULL,
  team       text REFERENCES codex_proxy.teams (name),
  label      text,
  models     text NOT NULL,     -- globs, separated by commas; empty: all
  created_ms bigint NOT NULL,
  expires_ms bigint,
  state      text NOT NULL CHECK (state IN ('active', 'disabled', 'revoked'))
);
CREATE INDEX keys_by_user ON codex_proxy.keys ("user");

CREATE TABLE codex_proxy.refusals (
  key_id  text NOT NULL,
  word    text NOT NULL,
  count   bigint NOT NULL,
  last_ms bigint NOT NULL,
  PRIMARY KEY (key_id, word)
);

CREATE TABLE codex_proxy.budgets (
  id         text PRIMARY KEY,
  scope      text NOT NULL,     -- organisation, team, user, key
  name       text NOT NULL,     -- of the team, person or key; empty: the organisation
  models     text NOT NULL,     -- globs, separated by commas; empty: all
  amount     bigint NOT NULL,   -- nano-dollars, tokens, requests, exchanges at once
  unit       text NOT NULL,
  "window"   text NOT NULL,
  zone       text NOT NULL,
  raise_by   bigint,
  raise_until_ms bigint,
  created_ms bigint NOT NULL
);

-- What was spent of a budget in a window.
CREATE TABLE codex_proxy.spent (
  budget    text NOT NULL,
  begins_ms bigint NOT NULL,
  amount    bigint NOT NULL,
  PRIMARY KEY (budget, begins_ms)
);

-- Processes that have leases; where the time has passed, their leases have lapsed.
CREATE TABLE codex_proxy.holders (
  node       text NOT NULL,
  process    text NOT NULL,
  expires_ms bigint NOT NULL,
  report     bigint NOT NULL,  -- the number of its last one; 0: it has made none
  through_ms bigint NOT NULL,  -- up to when all is told that was spent
  PRIMARY KEY (node, process)
);

CREATE TABLE codex_proxy.leases (
  budget    text NOT NULL,
  begins_ms bigint NOT NULL,
  node      text NOT NULL,
  process   text NOT NULL,
  amount    bigint NOT NULL,
  PRIMARY KEY (budget, begins_ms, node, process)
);

-- Tells every process that keys or budgets have changed; in the same transaction as the change.
CREATE FUNCTION codex_proxy.changed_1() RETURNS bigint LANGUAGE sql AS $$
  SELECT pg_notify('codex_proxy_change', '');
  UPDATE codex_proxy.change SET seq = seq + 1 RETURNING seq;
$$;

-- Renews all leases of a process, and tells the time.
CREATE FUNCTION codex_proxy.renew_1(a_node text, a_process text, lease_ms bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE now_ms bigint := floor(extract(epoch FROM clock_timestamp()) * 1000);
BEGIN
  -- What had lapsed does not come back: others may have leased it since.
  DELETE FROM codex_proxy.leases WHERE node = a_node AND process = a_process
    AND EXISTS (SELECT 1 FROM codex_proxy.holders
      WHERE node = a_node AND process = a_process AND expires_ms <= now_ms);
  INSERT INTO codex_proxy.holders (node, process, expires_ms, report, through_ms)
    VALUES (a_node, a_process, now_ms + lease_ms, 0, now_ms)
    ON CONFLICT (node, process) DO UPDATE SET expires_ms = excluded.expires_ms;
  RETURN now_ms;
END $$;

-- How a slice stands; whoever asks holds it until the end of his transaction.
CREATE FUNCTION codex_proxy.level_1(a_budget text, a_begins bigint, now_ms bigint,
  OUT spent bigint, OUT leased bigint) LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO codex_proxy.spent (budget, begins_ms, amount) VALUES (a_budget, a_begins, 0)
    ON CONFLICT DO NOTHING;
  SELECT s.amount INTO spent FROM codex_proxy.spent s
    WHERE s.budget = a_budget AND s.begins_ms = a_begins FOR UPDATE;
  SELECT coalesce(sum(l.amount), 0) INTO leased
    FROM codex_proxy.leases l JOIN codex_proxy.holders h USING (node, process)
    WHERE l.budget = a_budget AND l.begins_ms = a_begins AND h.expires_ms > now_ms;
END $$;

-- Leases of several slices, each for itself. They are locked in the order of their names, so that
-- nobody waits for somebody who waits for him.
CREATE FUNCTION codex_proxy.lease_1(a_node text, a_process text, lease_ms bigint,
  budgets text[], begins bigint[], limits bigint[], leasts bigint[], mosts bigint[])
RETURNS TABLE (place bigint, amount bigint, spent bigint, leased bigint) LANGUAGE plpgsql AS $$
DECLARE
  now_ms bigint := codex_proxy.renew_1(a_node, a_process, lease_ms);
  want record;
  room bigint;
BEGIN
  FOR want IN
    SELECT * FROM unnest(budgets, begins, limits, leasts, mosts) WITH ORDINALITY
      AS w (budget, begins_ms, most_of_all, least, most, place)
    ORDER BY w.budget, w.begins_ms
  LOOP
    place := want.place;
    SELECT l.spent, l.leased INTO spent, leased
      FROM codex_proxy.level_1(want.budget, want.begins_ms, now_ms) l;
    room := greatest(0, want.most_of_all - least(spent, want.most_of_all));
    room := greatest(0, room - least(leased, room));
    amount := CASE WHEN room < want.least THEN 0 ELSE least(room, want.most) END;
    IF amount > 0 THEN
      INSERT INTO codex_proxy.leases AS l (budget, begins_ms, node, process, amount)
        VALUES (want.budget, want.begins_ms, a_node, a_process, lease_1.amount)
        ON CONFLICT ON CONSTRAINT leases_pkey DO UPDATE SET amount = l.amount + excluded.amount;
    END IF;
    leased := leased + amount;
    RETURN NEXT;
  END LOOP;
END $$;

-- Takes a report of what was spent and what is held.
CREATE FUNCTION codex_proxy.settle_1(a_node text, a_process text, lease_ms bigint,
  a_report bigint, a_through bigint, budgets text[], begins bigint[], spents bigint[], helds bigint[])
RETURNS TABLE (place bigint, spent bigint, leased bigint) LANGUAGE plpgsql AS $$
DECLARE
  now_ms bigint := codex_proxy.renew_1(a_node, a_process, lease_ms);
  line record;
  is_new boolean;
BEGIN
  UPDATE codex_proxy.holders SET report = a_report, through_ms = a_through
    WHERE node = a_node AND process = a_process AND report < a_report;
  is_new := FOUND;
  FOR line IN
    SELECT * FROM unnest(budgets, begins, spents, helds) WITH ORDINALITY
      AS s (budget, begins_ms, spent, held, place)
    ORDER BY s.budget, s.begins_ms
  LOOP
    place := line.place;
    PERFORM codex_proxy.level_1(line.budget, line.begins_ms, now_ms);
    IF is_new THEN
      UPDATE codex_proxy.spent s SET amount = s.amount + line.spent
        WHERE s.budget = line.budget AND s.begins_ms = line.begins_ms;
      -- Only downwards: where the lease has lapsed, others may have it by now.
      UPDATE codex_proxy.leases l SET amount = least(l.amount, line.held)
        WHERE l.budget = line.budget AND l.begins_ms = line.begins_ms
          AND l.node = a_node AND l.process = a_process;
    END IF;
    SELECT l.spent, l.leased INTO spent, leased
      FROM codex_proxy.level_1(line.budget, line.begins_ms, now_ms) l;
    RETURN NEXT;
  END LOOP;
END $$;
