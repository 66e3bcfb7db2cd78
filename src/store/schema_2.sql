-- Databases of the Python service that memories are taken over from. Instants are microseconds since the
-- epoch.
CREATE TABLE source(
  key INTEGER PRIMARY KEY,
  path TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL CHECK (state IN ('importing', 'stopped', 'imported', 'verified', 'finished')),
  is_followed INTEGER NOT NULL,     -- whether its changes are to be taken over as they come
  cursor INTEGER NOT NULL,          -- the row up to which an import has read that isn't done; else 0
  imported INTEGER NOT NULL,        -- its rows that are here
  total INTEGER NOT NULL,           -- its rows, at the last look at all of them
  began_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL,      -- when something was last taken over
  report TEXT                       -- of the last import, JSON
) STRICT;

-- What a row of a source showed last, so that what differs later is known to be the service's edit.
CREATE TABLE source_row(
  source INTEGER NOT NULL REFERENCES source(key),
  memory INTEGER NOT NULL REFERENCES memory(key),
  row INTEGER,                      -- its rowid there; NULL once it is gone
  print INTEGER NOT NULL,           -- a hash of the row's small columns: equal ones need no second look
  seen TEXT NOT NULL,               -- JSON
  PRIMARY KEY (source, memory)
) STRICT, WITHOUT ROWID;
CREATE INDEX source_row_row ON source_row(source, row, print);

-- Columns of a source that memtide keeps and doesn't use, as JSON by name.
CREATE TABLE carried(
  memory INTEGER PRIMARY KEY REFERENCES memory(key),
  value TEXT NOT NULL
) STRICT;

-- Connections between memories, and between a memory and the name of something.
CREATE TABLE edge(
  source INTEGER NOT NULL REFERENCES source(key),
  origin TEXT NOT NULL,
  target TEXT NOT NULL,
  similarity REAL,
  kinds TEXT,                       -- JSON, as it stands there
  relation TEXT,
  metadata TEXT,                    -- as it stands there
  created_at REAL,                  -- seconds, as it stands there
  pass INTEGER NOT NULL,            -- the look that saw it last
  PRIMARY KEY (source, origin, target)
) STRICT, WITHOUT ROWID;
CREATE INDEX edge_origin ON edge(origin);
CREATE INDEX edge_target ON edge(target);
