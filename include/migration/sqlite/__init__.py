"""The source: its catalog, its snapshot, its rows in blocks."""
