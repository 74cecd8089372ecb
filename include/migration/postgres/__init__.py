"""The target: connections, facts about it, the migration's state, schemas, cut-over."""
