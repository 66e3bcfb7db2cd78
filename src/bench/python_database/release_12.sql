-- What mcp-memory-service 12.4 makes of an empty file; {vectors} is the kind of its vectors, {metric} their
-- measure. Columns that later releases appended stand at the end, as ALTER TABLE leaves them.
CREATE TABLE metadata(key TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO metadata VALUES ('distance_metric', 'cosine'), ('fts5_enabled', 'true'), ('schema_version', '19'),
  ('sync_hlc_physical', '0'), ('sync_hlc_logical', '0');
CREATE TABLE memories(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  content_hash TEXT UNIQUE NOT NULL,
  content TEXT NOT NULL,
  tags TEXT,
  memory_type TEXT,
  metadata TEXT,
  created_at REAL,
  updated_at REAL,
  created_at_iso TEXT,
  updated_at_iso TEXT,
  deleted_at REAL DEFAULT NULL,
  store TEXT DEFAULT 'default',
  parent_id TEXT,
  version INTEGER DEFAULT 1,
  confidence REAL DEFAULT 1.0,
  last_accessed INTEGER,
  superseded_by TEXT,
  embedding_pending INTEGER NOT NULL DEFAULT 0
);
CREATE VIRTUAL TABLE memory_embeddings USING vec0(
  content_embedding {vectors} {metric},
  store TEXT partition key
);
CREATE TABLE migration_registry(
  version INTEGER PRIMARY KEY, name TEXT NOT NULL, filename TEXT NOT NULL, applied_at TEXT NOT NULL, checksum TEXT
);
CREATE TABLE beliefs(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  belief_hash TEXT UNIQUE NOT NULL,
  content TEXT NOT NULL,
  confidence REAL NOT NULL DEFAULT 0.5,
  status TEXT NOT NULL DEFAULT 'candidate',
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  derived_from TEXT NOT NULL DEFAULT '[]',
  contradicted_by TEXT NOT NULL DEFAULT '[]',
  metadata TEXT DEFAULT '{}'
);
CREATE TABLE sync_events(
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  schema_version INTEGER NOT NULL DEFAULT 1,
  agent_id TEXT,
  event_id TEXT NOT NULL,
  op TEXT NOT NULL,
  content_hash TEXT NOT NULL,
  payload TEXT NOT NULL,
  created_at REAL NOT NULL,
  created_at_iso TEXT, hlc_physical INTEGER, hlc_logical INTEGER, embedding_model TEXT, embedding_dim INTEGER,
  UNIQUE(agent_id, event_id)
);
CREATE INDEX idx_memories_embedding_pending ON memories(embedding_pending);
