"""Rows of SQLite databases, where one connection at a time writes: short batches, with pauses."""
