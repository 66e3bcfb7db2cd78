-- What mcp-memory-service 10.59 leaves in a file that began with an earlier release: no schema version, one
-- store, and the columns in the order in which they came to be added.
CREATE TABLE metadata(key TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO metadata VALUES ('distance_metric', 'cosine'), ('fts5_enabled', 'true');
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
  superseded_by TEXT,
  deleted_at REAL DEFAULT NULL,
  last_accessed INTEGER,
  version INTEGER DEFAULT 1,
  confidence REAL DEFAULT 1.0,
  parent_id TEXT
);
CREATE VIRTUAL TABLE memory_embeddings USING vec0(content_embedding {vectors} {metric});
