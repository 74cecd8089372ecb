"""Translates the views of a database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from migration.derive import parse
from migration.derive.parse import Refusal, Refused, refusable
from migration.derive.queries import Queries
from migration.derive.relations import Output, Relation
from migration.derive.values import column, ident


@dataclass(frozen=True)
class ViewSql:
    """A view for PostgreSQL: the statement that creates it, and the view as others read it."""

    create: str
    relation: Relation
    notes: tuple[str, ...] = ()


def translate_view(
    select: str, names: Mapping[str, str], relations: Mapping[str, Relation], target: str
) -> ViewSql | Refused:
    """A view's SELECT; ``names`` are the target's names of its columns by the source's, ``target`` that of the view.

    ``relations`` has every table and view that is carried, by source name. What PostgreSQL refuses, such as columns
    outside GROUP BY, shows only when the caller creates the view.
    """

    def work() -> ViewSql:
        compiler = Queries(relations)
        tree = parse.query(select, {n: _shape(r) for n, r in relations.items()})
        outputs, written = compiler.query(tree)
        if len(outputs) != len(names):
            raise Refusal(f"it has {len(outputs)} columns here and {len(names)} in SQLite")
        columns = {n: Output(t, o.value) for (n, t), o in zip(names.items(), outputs, strict=True)}
        listed = ", ".join(map(ident, names.values()))
        create = f"CREATE VIEW {ident(target)} ({listed}) AS {written}"
        return ViewSql(create, Relation(target, columns), tuple(compiler.notes))

    return refusable(work)


def _shape(relation: Relation) -> list[tuple[str, str, str]]:
    found = [(n, c.value if isinstance(c, Output) else column(c)) for n, c in relation.columns.items()]
    return [(n, v.affinity, v.collation or "BINARY") for n, v in found]
