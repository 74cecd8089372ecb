"""The application's operations on SQLite, as it did them before, and on PostgreSQL, through the repositories."""
