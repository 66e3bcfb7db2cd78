-- The graph, the indexes and the keyword index, with the service's own triggers, faults included.
CREATE TABLE memory_graph(
  source_hash TEXT NOT NULL,
  target_hash TEXT NOT NULL,
  similarity REAL NOT NULL,
  connection_types TEXT NOT NULL,
  metadata TEXT,
  created_at REAL NOT NULL,
  relationship_type TEXT DEFAULT 'related',
  PRIMARY KEY (source_hash, target_hash)
);
CREATE INDEX idx_content_hash ON memories(content_hash);
CREATE INDEX idx_created_at ON memories(created_at);
CREATE INDEX idx_memory_type ON memories(memory_type);
CREATE VIRTUAL TABLE memory_content_fts USING fts5(
  content, content = 'memories', content_rowid = 'id', tokenize = 'trigram'
);
CREATE TRIGGER memories_fts_ai AFTER INSERT ON memories BEGIN
  INSERT INTO memory_content_fts(rowid, content) VALUES (new.id, new.content);
END;
CREATE TRIGGER memories_fts_au AFTER UPDATE ON memories BEGIN
  DELETE FROM memory_content_fts WHERE rowid = old.id;
  INSERT INTO memory_content_fts(rowid, content) VALUES (new.id, new.content);
END;
CREATE TRIGGER memories_fts_ad AFTER DELETE ON memories BEGIN
  DELETE FROM memory_content_fts WHERE rowid = old.id;
END;
