"""The application's indexes on PostgreSQL: which query each serves, what it brings and what it costs."""
