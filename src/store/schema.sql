-- One row: who this database is, and the two counters that must never go back.
CREATE TABLE device(
  one INTEGER PRIMARY KEY CHECK (one = 1),
  id INTEGER NOT NULL,              -- the device's number in stamps, random, 32 bits
  fingerprint TEXT NOT NULL,        -- of the machine and the file; a clone is noticed by it
  last_stamp TEXT NOT NULL,         -- the largest stamp given
  generation INTEGER NOT NULL       -- the last generation given; never reused
) STRICT;

-- Memories, alive and deleted. All columns but key, state, content and generation are projections of
-- the registers in `state`, written in the same transaction. Instants are microseconds since the epoch.
CREATE TABLE memory(
  key INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  body TEXT NOT NULL,               -- SHA-256 of the exact text
  kind TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  deleted_at INTEGER,
  superseded_by TEXT,
  device INTEGER NOT NULL,
  client TEXT NOT NULL,
  generation INTEGER NOT NULL,
  metadata TEXT NOT NULL,           -- JSON object
  state TEXT NOT NULL,
  content TEXT                      -- NULL once the retention of a deleted memory is over
) STRICT;
CREATE INDEX memory_created ON memory(created_at) WHERE deleted_at IS NULL;
CREATE INDEX memory_kind ON memory(kind, created_at) WHERE deleted_at IS NULL;
CREATE INDEX memory_deleted ON memory(deleted_at) WHERE deleted_at IS NOT NULL;

-- Tags of live memories.
CREATE TABLE tag(
  name TEXT NOT NULL,
  memory INTEGER NOT NULL REFERENCES memory(key),
  PRIMARY KEY (name, memory)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_memory ON tag(memory);

-- Words of live memories that are not superseded; rowid = memory.key. It keeps no text of its own.
CREATE VIRTUAL TABLE keyword USING fts5(
  content, content = '', contentless_delete = 1, tokenize = 'porter unicode61 remove_diacritics 2'
);

-- Vectors: unit-normalised little-endian f32. A table vec_<space.key> ranks them by scan and can be
-- rebuilt from here; embedding.id is its rowid.
CREATE TABLE space(
  key INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  dims INTEGER NOT NULL,
  is_active INTEGER NOT NULL
) STRICT;
CREATE TABLE embedding(
  id INTEGER PRIMARY KEY,
  memory INTEGER NOT NULL REFERENCES memory(key),
  space INTEGER NOT NULL REFERENCES space(key),
  window INTEGER NOT NULL,
  body TEXT NOT NULL,               -- of the text the vector was made from
  vec BLOB NOT NULL,
  UNIQUE (memory, space, window)
) STRICT;
-- Rows of vec_<space> that stand for nothing: sqlite-vec never reuses a deleted slot, so they are kept
-- and written over.
CREATE TABLE free_slot(
  space INTEGER NOT NULL,
  id INTEGER NOT NULL,
  PRIMARY KEY (space, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE pending_embedding(
  memory INTEGER PRIMARY KEY REFERENCES memory(key),
  since INTEGER NOT NULL,
  error TEXT                        -- why the last try gave no vector
) STRICT;

-- Duties to the cloud. A row says that a memory, at a generation, owes something to a product; what is
-- sent is the state at sending time. since and due_at are microseconds since the epoch.
CREATE TABLE outbox(
  memory INTEGER NOT NULL REFERENCES memory(key),
  product TEXT NOT NULL CHECK (product IN ('r2', 'd1', 'vectorize')),
  generation INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('due', 'waiting_for_embedding', 'conflict', 'parked')),
  lane INTEGER NOT NULL CHECK (lane IN (0, 1)),   -- 0 live, 1 backfill
  attempts INTEGER NOT NULL,
  since INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  error TEXT,
  PRIMARY KEY (memory, product)
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_due ON outbox(product, state, lane, due_at);
CREATE INDEX outbox_since ON outbox(since);

-- What the cloud is known to hold of a memory.
CREATE TABLE remote_position(
  memory INTEGER PRIMARY KEY REFERENCES memory(key),
  seq INTEGER NOT NULL,             -- its position in the change feed
  r2_key TEXT                       -- of the present body, if R2 holds it
) STRICT;

-- Changes of the vector index that it has accepted and not yet been seen to hold: it may be late, and it
-- may drop them. One row for the newest change of each memory; seq is the order of submission.
CREATE TABLE unconfirmed_vector(
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  memory INTEGER NOT NULL UNIQUE REFERENCES memory(key),
  rev TEXT,                         -- the newest stamp that was sent with the vector; NULL for a deletion
  submitted_at INTEGER NOT NULL,    -- by this device's clock
  accepted_at INTEGER,              -- by the index's clock, if it told
  mutation TEXT                     -- the index's name for the request
) STRICT;
CREATE INDEX unconfirmed_vector_submitted ON unconfirmed_vector(submitted_at);
-- What stands in the cloud and can't be taken: bad values, a missing body. Fetched again now and then.
CREATE TABLE quarantine(
  id TEXT PRIMARY KEY,              -- as it stands there; it may be no id at all
  seq INTEGER NOT NULL,
  reason TEXT NOT NULL,
  at INTEGER NOT NULL               -- when it was last looked at, microseconds since the epoch
) STRICT, WITHOUT ROWID;

-- One row while linked to an account: fixed here, never redirected by configuration.
CREATE TABLE link(
  one INTEGER PRIMARY KEY CHECK (one = 1),
  api_base TEXT NOT NULL,           -- the address of the account's interface
  account TEXT NOT NULL,
  database TEXT NOT NULL,
  database_uuid TEXT NOT NULL,
  vector_index TEXT NOT NULL,
  bucket TEXT,
  contract TEXT NOT NULL,           -- the cloud index's embedding contract, JSON
  is_local_space INTEGER NOT NULL,  -- whether local vectors are uploaded
  inline_bytes INTEGER NOT NULL,    -- larger texts go to the bucket
  mode TEXT NOT NULL CHECK (mode IN ('shadow', 'dual')),
  is_paused INTEGER NOT NULL,
  linked_at INTEGER NOT NULL,
  cursor INTEGER NOT NULL,
  anchor_seq INTEGER NOT NULL,
  anchor_nonce TEXT NOT NULL
) STRICT;

-- What must survive a restart of the replicator: breakers, budget, daily counters. JSON by name.
CREATE TABLE replicator_state(
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Versions that were replaced, numbered from 1 within a memory.
CREATE TABLE history(
  memory INTEGER NOT NULL REFERENCES memory(key),
  version INTEGER NOT NULL,
  at INTEGER NOT NULL,
  cause TEXT NOT NULL,
  client TEXT NOT NULL,
  kind TEXT NOT NULL,
  tags TEXT NOT NULL,
  metadata TEXT NOT NULL,
  content TEXT NOT NULL,
  PRIMARY KEY (memory, version)
) STRICT, WITHOUT ROWID;
