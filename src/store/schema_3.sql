-- The generation of the memory that the Python service's row already shows at this position, where
-- nothing but memtide's own entry is missing beside it. Another position or another generation ends it.
ALTER TABLE remote_position ADD COLUMN shown INTEGER;
