//! What no sane writer puts into the database.
