"""Derives a PostgreSQL schema from that of a SQLite database: pure functions over the catalog, and their refusals."""
