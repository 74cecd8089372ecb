"""Proves that staging holds what the snapshot holds, by code that shares nothing with the loader.

``table`` leads through one table. ``source`` and ``target`` read the two sides through ``codecs``, which bring each
type to one canonical form; ``values`` and ``jsonb`` define that form. ``compare`` goes through blocks by digest
(``hashing``) with a ``pairing``, ``rows`` and ``multiset`` find what differs in them, ``found`` collects it. ``kept``
looks at the quarantine and the altered values, ``orphans`` and ``checks`` at everything else; ``keys`` names rows.
Nothing here imports ``migration.load``: a check that shares code with what it checks proves nothing.
"""

from migration.verify.table import verify_table

__all__ = ["verify_table"]
