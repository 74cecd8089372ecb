"""How fast the migration is: against the limit of COPY, and against other loaders."""
