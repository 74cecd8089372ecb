"""Compiles queries: the FROM clause as explicit joins, every column by its name, every expression by the same rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

from sqlglot import exp

from migration.derive import operators
from migration.derive.aggregates import AGGREGATES, RANKS, aggregate, cell, grouped, ordering
from migration.derive.expressions import Expressions
from migration.derive.parse import Refusal
from migration.derive.relations import Output, Relation, exposed
from migration.derive.values import Carried, Value, boolean, column, ident, integer

FIRST_ROW = "of a subquery with several rows either database takes one that it comes to first"
UNORDERED = "its ORDER BY is left out: the texts that became times may be written in any way"


@dataclass
class _Source:
    """One member of a FROM clause; ``hidden`` columns are those that USING merged into an earlier member's."""

    alias: str
    columns: dict[str, tuple[str, Value]]
    """(name, value) by the name in lower case."""
    rowid: str | None = None
    hidden: set[str] = field(default_factory=set)


class _Core(NamedTuple):
    """A query whose columns are not written yet: how depends on what it is part of."""

    outputs: list[Output]
    write: Callable[[Sequence[str]], str]


class Queries(Expressions):
    """Compiles queries over relations: expressions over a stack of scopes, the innermost last."""

    def __init__(self, relations: Mapping[str, Relation]) -> None:
        super().__init__({})
        self.relations = {name.lower(): relation for name, relation in relations.items()}
        self.scopes: list[list[_Source]] = []
        self.aliases: list[dict[str, exp.Expr]] = []
        self.unnamed = False
        """Some column of a subquery has no name of its own, so a quoted name that is unknown need not be a string."""

    def named(self, node: exp.Column) -> Value | None:
        """The column, from the innermost scope that has it; an alias of the SELECT list comes after the columns."""
        name, table = node.name.lower(), node.table.lower()
        for scope, aliases in zip(self.scopes[::-1], self.aliases[::-1], strict=True):
            for source in (s for s in scope if not table or s.alias.lower() == table):
                if name in source.columns and (table or name not in source.hidden):
                    return source.columns[name][1]
                if name in ("rowid", "_rowid_", "oid") and source.rowid:
                    return source.columns[source.rowid.lower()][1]
            if not table and name in aliases:
                aliased = aliases.pop(name)  # it may have the name of a column that it is made of
                try:
                    return self.value(aliased)
                finally:
                    aliases[name] = aliased
        if self.unnamed and node.this.args.get("quoted"):
            raise Refusal(f'"{node.name}" may be a column without a name of its own')
        return None

    def _from(self, select: exp.Expr) -> str:
        start = select.args.get("from_")
        return f" FROM {self._joined(start.this, select.args.get('joins') or [])}" if start else ""

    def _joined(self, first: exp.Expr, joins: Iterable[exp.Expr]) -> str:
        sql = self._member(first)
        for join in joins:
            known = len(self.scopes[-1])
            side, on = (join.args.get("side") or "").upper(), join.args.get("on")
            member = self._member(join.this)
            before, added = self.scopes[-1][:known], self.scopes[-1][known:]
            using = [i.name.lower() for i in join.args.get("using") or []]
            if join.args.get("method") == "NATURAL":
                using = [c for s in added for c in s.columns if any(c in b.columns for b in before)]
            if using and side in ("RIGHT", "FULL"):
                raise Refusal(f"a {side} JOIN with USING")
            if using:
                condition = " AND ".join(_merged(name, before, added) for name in using)
            elif on is not None and not isinstance(on, exp.Boolean):
                condition = self.condition(on)
            else:
                condition = "true" if side else ""
            kind = f"{side} JOIN" if side else "JOIN" if condition else "CROSS JOIN"
            sql += f" {kind} {member}{f' ON {condition}' if condition else ''}"
        return sql

    def _member(self, node: exp.Expr) -> str:
        alias = node.args.get("alias")
        if alias is not None and alias.args.get("columns"):
            raise Refusal(f"a member of FROM with names for its columns: {node.sql('sqlite')}")
        if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Table) and alias is None:
            return f"({self._joined(node.this, node.this.args.get('joins') or [])})"
        if isinstance(node, exp.Subquery | exp.Values):
            name = alias.name if alias is not None else f"subquery {sum(map(len, self.scopes)) + 1}"
            outputs, written = self.query(node.this if isinstance(node, exp.Subquery) else node)
            columns: Mapping[str, Carried | Output] = {o.name: o for o in outputs}
            source, rowid = f"({written})", None
        else:
            relation = self.relations.get(node.name.lower()) if isinstance(node.this, exp.Identifier) else None
            if relation is None:
                raise Refusal(f"it reads {node.sql('sqlite')}, which is not carried")
            name = alias.name if alias is not None else node.name
            columns, source, rowid = relation.columns, ident(relation.name), relation.rowid
        found = {
            n.lower(): (
                n,
                exposed(c.value, f"{ident(name)}.{ident(c.name)}") if isinstance(c, Output) else column(c, name),
            )
            for n, c in columns.items()
        }
        self.scopes[-1].append(_Source(name, found, rowid))
        return source if source == ident(name) else f"{source} AS {ident(name)}"

    def query(
        self, node: exp.Expr, cells: Callable[[list[Value]], list[str]] | None = None
    ) -> tuple[list[Output], str]:
        """The columns and the text of a query; ``cells`` writes its columns where they are not wanted as stored."""
        kept = dict(self.relations)
        with_ = node.args.get("with_")
        ctes = [self._cte(c) for c in with_.expressions] if with_ else []
        core = self._core(node)
        values = [o.value for o in core.outputs]
        written = core.write(cells(values) if cells else [cell(v) for v in values])
        self.relations = kept
        prefix = (
            f"WITH {'RECURSIVE ' if with_ and with_.args.get('recursive') else ''}{', '.join(ctes)} " if ctes else ""
        )
        return core.outputs, prefix + written

    def _cte(self, node: exp.Expr) -> str:
        body, name = node.this, node.alias
        recursive = isinstance(body, exp.SetOperation) and any(
            t.name.lower() == name.lower() for t in body.expression.find_all(exp.Table)
        )
        names = [c.name for c in node.args["alias"].args.get("columns") or []]
        if recursive:
            outputs, written = self._recursive(body, name, names)
        else:
            outputs, written = self.query(body)
        names = names or [o.name for o in outputs]
        self.relations[name.lower()] = Relation(
            name, {n: Output(n, o.value) for n, o in zip(names, outputs, strict=True)}
        )
        return f"{ident(name)} ({', '.join(map(ident, names))}) AS ({written})"

    def _recursive(self, body: exp.Expr, name: str, names: list[str]) -> tuple[list[Output], str]:
        if not isinstance(body, exp.Union) or any(body.args.get(a) for a in ("order", "limit", "offset")):
            raise Refusal("a recursive query with ORDER BY or LIMIT")
        first = self._core(body.this)
        outputs = [o._replace(value=_widened(o.value)) for o in first.outputs]
        self.relations[name.lower()] = Relation(
            name, {n: Output(n, o.value) for n, o in zip(names or [o.name for o in outputs], outputs, strict=True)}
        )
        second = self._core(body.expression)
        for one, two in zip(outputs, second.outputs, strict=True):
            if one.value.stored[1:] != _widened(two.value).stored[1:] or one.value.kind != _widened(two.value).kind:
                raise Refusal(f"the column {one.name} of the recursive query {name} changes its type")
        word = "UNION" if body.args.get("distinct") else "UNION ALL"
        parts = [c.write([_widened(o.value).stored.sql for o in c.outputs]) for c in (first, second)]
        return outputs, f"({parts[0]}) {word} ({parts[1]})"

    def _core(self, node: exp.Expr) -> _Core:
        if isinstance(node, exp.SetOperation):
            return self._ordered(node, self._compound(node))
        if isinstance(node, exp.Subquery):
            return self._core(node.this)
        if isinstance(node, exp.Values):
            return self._values(node)
        if not isinstance(node, exp.Select) or node.args.get("windows"):
            raise Refusal(f"{node.key.upper()}: {node.sql('sqlite')}")
        self.scopes.append([])
        self.aliases.append({e.alias.lower(): e.this for e in node.expressions if isinstance(e, exp.Alias)})
        try:
            tail = self._from(node)
            outputs = [o for e in node.expressions for o in self._outputs(e)]
            where, having = node.args.get("where"), node.args.get("having")
            tail += f" WHERE {self.condition(where.this)}" if where else ""
            group = [self._term(e, outputs) for e in node.args["group"].expressions] if node.args.get("group") else []
            tail += f" GROUP BY {', '.join(map(grouped, group))}" if group else ""
            tail += f" HAVING {self.condition(having.this)}" if having else ""
            distinct = "DISTINCT " if node.args.get("distinct") else ""
            for output in outputs if distinct else []:
                grouped(output.value)
            order = "" if distinct else self._order(node, lambda term: self._term(term, outputs, alias_first=True))
        finally:
            self.scopes.pop()
            self.aliases.pop()

        def write(cells: Sequence[str]) -> str:
            listed = ", ".join(f"{c} AS {ident(o.name)}" for c, o in zip(cells, outputs, strict=True))
            return f"SELECT {distinct}{listed}{tail}{order}"

        core = _Core(outputs, write)
        return self._ordered(node, core) if distinct else core

    def _values(self, node: exp.Expr) -> _Core:
        rows = [[self.value(e) for e in row.expressions] for row in node.expressions]
        columns = [operators.unify([integer(v) for v in column]) for column in zip(*rows, strict=True)]
        names = [f"column{place + 1}" for place in range(len(columns))]
        listed = ", ".join(f"({', '.join(row)})" for row in zip(*(cells for _, cells, _ in columns), strict=True))
        source = f"(VALUES {listed}) AS listed ({', '.join(map(ident, names))})"
        outputs = [Output(n, exposed(unified, ident(n))) for n, (unified, _, _) in zip(names, columns, strict=True)]
        return _Core(outputs, lambda cells: f"SELECT {', '.join(cells)} FROM {source}")  # noqa: S608

    def _outputs(self, node: exp.Expr) -> list[Output]:
        if isinstance(node, exp.Star) or (isinstance(node, exp.Column) and isinstance(node.this, exp.Star)):
            table = node.table.lower() if isinstance(node, exp.Column) else ""
            return [
                Output(name, value)
                for source in self.scopes[-1]
                if not table or source.alias.lower() == table
                for key, (name, value) in source.columns.items()
                if table or key not in source.hidden
            ]
        name = node.alias_or_name if isinstance(node, exp.Alias | exp.Column) else ""
        if not name:
            self.unnamed = self.unnamed or len(self.scopes) > 1
            name = "column"
        value = self.value(node.this if isinstance(node, exp.Alias) else node)
        return [Output(name, replace(value, explicit=False))]

    def _term(self, node: exp.Expr, outputs: list[Output], *, alias_first: bool = False) -> Value:
        """What a term of GROUP BY or ORDER BY means: the number of a column, its alias, or an expression."""
        if isinstance(node, exp.Literal) and not node.is_string and node.name.isdecimal():
            return outputs[int(node.name) - 1].value
        if alias_first and isinstance(node, exp.Column) and not node.table and node.name.lower() in self.aliases[-1]:
            return next(o.value for o in outputs if o.name.lower() == node.name.lower())
        return self.value(node)

    def _order(self, node: exp.Expr, term: Callable[[exp.Expr], Value]) -> str:
        """ORDER BY, LIMIT and OFFSET."""
        found: list[str] = []
        limit = node.args.get("limit")
        for part in node.args["order"].expressions if node.args.get("order") else []:
            value = term(part.this)
            if value.kind in ("other", "json"):
                if limit:
                    raise Refusal(value.why or "rows are ordered by a JSON value")
                self.notes[UNORDERED] = None
                found = []
                break
            found.append(ordering(value, part))
        sql = f" ORDER BY {', '.join(found)}" if found else ""
        for word in ("limit", "offset"):
            count = node.args[word].expression if node.args.get(word) else None
            if isinstance(count, exp.Literal) and count.name.isdecimal():
                sql += f" {word.upper()} {count.name}"
            elif count is not None and not isinstance(count, exp.Neg):  # a negative one is none
                raise Refusal(f"{word.upper()} {count.sql('sqlite')}")
        return sql

    def _ordered(self, node: exp.Expr, core: _Core) -> _Core:
        """``core`` as a subquery, whose rows PostgreSQL then orders by any expression."""
        if not any(node.args.get(a) for a in ("order", "limit", "offset")):
            return core
        columns = {o.name.lower(): exposed(o.value, ident(o.name)) for o in core.outputs}
        listed = list(columns.values())

        def term(part: exp.Expr) -> Value:
            if isinstance(part, exp.Literal) and part.name.isdecimal():
                return listed[int(part.name) - 1]
            if isinstance(part, exp.Column) and part.name.lower() in columns:
                return columns[part.name.lower()]
            raise Refusal(
                f"DISTINCT or a compound SELECT ordered by what is not among its columns: {part.sql('sqlite')}"
            )

        order = self._order(node, term)
        return core._replace(write=lambda cells: f"SELECT * FROM ({core.write(cells)}) AS ordered{order}")  # noqa: S608

    def _compound(self, node: exp.Expr) -> _Core:
        """Every member at once, since one column must have one type in all; SQLite takes them from left to right."""
        members, words, distinct = list[_Core](), list[str](), False
        while isinstance(node, exp.SetOperation):
            distinct = distinct or bool(node.args.get("distinct"))
            words.insert(0, f"{type(node).__name__.upper()}{'' if node.args.get('distinct') else ' ALL'}")
            members.insert(0, self._core(node.expression))
            node = node.this.this if isinstance(node.this, exp.Subquery) else node.this
        members.insert(0, self._core(node))
        outputs, columns = [], []
        for column_ in zip(*(m.outputs for m in members), strict=True):
            values = [integer(o.value) if o.value.kind == "bool" and not o.value.affinity else o.value for o in column_]
            for value in values if distinct else []:
                grouped(value)
            unified, cells, stored = operators.unify(values)
            columns.append(stored if unified.native else cells)
            affinity = values[0].affinity if len({v.affinity for v in values}) == 1 else ""
            unified = replace(unified, sql="NULL", affinity=affinity, collation=values[0].collation)
            outputs.append(column_[0]._replace(value=unified))
        written = [f"({m.write(cells)})" for m, cells in zip(members, zip(*columns, strict=True), strict=True)]
        sql = written[0]
        for word, member in zip(words, written[1:], strict=True):
            sql = f"({sql}) {word} {member}" if word.startswith("INTERSECT") else f"{sql} {word} {member}"
        return _Core(outputs, lambda _: sql)

    def _subquery(self, node: exp.Expr) -> Value:
        select = node.this
        outputs, written = self.query(select)
        if len(outputs) != 1:
            raise Refusal(f"a subquery of {len(outputs)} columns: {node.sql('sqlite')}")
        calls = [e.unalias() for e in select.expressions]
        single = all(
            isinstance(c, exp.Anonymous) and c.name.lower() in AGGREGATES for c in calls
        ) and not select.args.get("group")
        if not single and not select.args.get("limit"):
            self.notes[FIRST_ROW] = None
            written += " LIMIT 1"
        return replace(exposed(outputs[0].value, f"({written})"), collation="")

    def _in(self, node: exp.Expr) -> Value:
        if not node.args.get("query"):
            return super()._in(node)
        left = integer(self.value(node.this))
        one: list[str] = []

        def cells(values: list[Value]) -> list[str]:
            sides = [operators.sides("=", left, value) for value in values]
            one.extend(side[0] for side in sides)
            return [side[1] for side in sides]

        outputs, written = self.query(node.args["query"].this, cells)
        if len(outputs) != 1:
            raise Refusal(f"a row compared with a subquery: {node.sql('sqlite')}")
        return boolean(f"({one[0]} IN ({written}))")

    def _function(self, node: exp.Expr, tail: str = "") -> Value:
        name = node.name.lower()
        if name in RANKS or (name in AGGREGATES and (len(node.expressions) < 2 or name not in ("min", "max"))):
            return aggregate(self, node, tail)
        if tail:
            raise Refusal(f"{name}() over a window")
        return super()._function(node)

    def _filter(self, node: exp.Expr, tail: str = "") -> Value:
        return self._function(node.this, f" FILTER (WHERE {self.condition(node.expression.this)}){tail}")

    def _window(self, node: exp.Expr) -> Value:
        if node.args.get("alias") or node.args.get("spec"):
            raise Refusal(f"a window with a name or frame: {node.sql('sqlite')}")
        parts = [grouped(self.value(p)) for p in node.args.get("partition_by") or []]
        order = node.args.get("order")
        orders = [ordering(self.value(o.this), o) for o in order.expressions] if order else []
        inside = f"PARTITION BY {', '.join(parts)} " if parts else ""
        inside += f"ORDER BY {', '.join(orders)}" if orders else ""
        call = self._filter if isinstance(node.this, exp.Filter) else self._function
        return call(node.this, f" OVER ({inside.strip()})")

    HANDLERS: ClassVar[dict[type[exp.Expr], Callable[[Any, exp.Expr], Value]]] = {
        **Expressions.HANDLERS,
        exp.Anonymous: _function,
        exp.In: _in,
        exp.Subquery: _subquery,
        exp.Exists: lambda self, node: boolean(f"EXISTS ({self.query(node.this)[1]})"),
        exp.Filter: _filter,
        exp.Window: _window,
    }


def _merged(name: str, before: list[_Source], added: list[_Source]) -> str:
    """The condition of one column that USING names; the later of the two is seen no more."""
    left = next(s.columns[name][1] for s in before if name in s.columns and name not in s.hidden)
    right = next(s for s in added if name in s.columns)
    right.hidden.add(name)
    return operators.compare("=", left, right.columns[name][1]).sql


def _widened(value: Value) -> Value:
    """A column of a recursive query with its type as wide as it may become."""
    if value.kind in ("int", "bool") and not value.native:
        value = integer(value)
        return Value("int", f"{value.sql}::bigint", "bigint", value.affinity)
    if value.kind == "text" and not value.native:
        return replace(value, sql=f"{value.sql}::text", literal=None)
    return value
