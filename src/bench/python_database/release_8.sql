-- What releases before 8.7 made: no settings, no deletions, distances measured straight.
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
  updated_at_iso TEXT
);
CREATE VIRTUAL TABLE memory_embeddings USING vec0(content_embedding {vectors} {metric});
