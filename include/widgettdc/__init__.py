"""WidgetTDC's own data layer: its tables on PostgreSQL, and a sample of the SQLite database it comes from."""
