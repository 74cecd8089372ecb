"""Moves a SQLite database into PostgreSQL and proves it; knows nothing of the orchestrator that calls it.

Direction of imports: ``steps`` → ``sqlite``, ``postgres``, ``load``, ``verify`` → ``plan``, ``catalog``, ``errors``.
``verify`` imports nothing from ``load``: a check that shares code with what it checks proves nothing.
"""
