"""SQLite's expressions and queries as sqlglot trees, each proven to be read as SQLite reads it.

sqlglot's grammar is that of many databases at once, and where it differs from SQLite's the tree is wrong without a
word (`a = b LIKE c` groups the other way round). So the tree is written back to SQL with every operation in brackets,
SQLite compiles both texts, and only byte code that is the same, instruction by instruction, is proof enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import apsw
import sqlglot
from sqlglot import exp
from sqlglot.dialects.sqlite import SQLite
from sqlglot.errors import SqlglotError
from sqlglot.parsers.sqlite import SQLiteParser
from sqlglot.tokenizer_core import TokenType

from migration.catalog import COLLATIONS
from migration.sqlite.catalog import quoted


class Refusal(Exception):
    """What cannot be translated; the text says which construct and why."""


@dataclass(frozen=True)
class Refused:
    """Why something is not carried."""

    reason: str


T = TypeVar("T")


Shape = Iterable[tuple[str, str, str]]
"""The columns of a table as (name, affinity, collation)."""


def _cast(parser: Any) -> exp.Expr:
    """CAST with its type as SQLite has it: any words, of which only the affinity counts."""
    this = parser._parse_disjunction()
    parser._match(TokenType.ALIAS)
    words, depth = [], 0
    while parser._curr and (depth or parser._curr.token_type != TokenType.R_PAREN):
        depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(parser._curr.token_type, 0)
        words.append(parser._curr.text)
        parser._advance()
    return exp.Cast(this=this, to=exp.Var(this=" ".join(words)))


class _Dialect(SQLite):
    """SQLite with every function left under its own name, and unary plus (which takes the affinity away) kept."""

    NORMALIZE_NOT_NULL = False

    class Parser(SQLiteParser):
        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {"CAST": _cast}
        NO_PAREN_FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {"CASE": SQLiteParser.NO_PAREN_FUNCTION_PARSERS["CASE"]}
        UNARY_PARSERS: ClassVar[dict[TokenType, Any]] = {
            **SQLiteParser.UNARY_PARSERS,
            TokenType.PLUS: lambda self: exp.Anonymous(this="+", expressions=[self._parse_unary()]),
        }

        def _negate_range(self, this: exp.Expr | None = None) -> exp.Expr | None:
            if isinstance(this, exp.Is):  # `a NOT NULL` is one operation, other than `NOT a IS NULL`
                this.set("negate", True)
                return this
            negated: exp.Expr | None = super()._negate_range(this)
            return negated


_OPERATIONS = (exp.Binary, exp.Unary, exp.Between, exp.In, exp.Escape)


def _bracketed(tree: exp.Expr) -> exp.Expr:
    """A copy with brackets around every operation that is part of another one."""
    tree = tree.copy()
    for node in list(tree.find_all(*_OPERATIONS)):
        bare = isinstance(node.parent, _OPERATIONS) and not isinstance(node.parent, (exp.Paren, exp.Escape))
        if bare and not isinstance(node, exp.Paren):
            bracket = exp.Paren()
            node.replace(bracket)
            bracket.set("this", node)
    return tree


def _joined(tree: exp.Expr) -> str:
    """The text with JOIN for every comma and CROSS JOIN, which differ in what the planner may do, not in meaning."""
    tree = _bracketed(tree)
    for join in tree.find_all(exp.Join):
        join.set("kind", None if join.args.get("kind") == "CROSS" else join.args.get("kind"))
        if isinstance(join.args.get("on"), exp.Boolean):
            join.set("on", None)
    return tree.sql(_Dialect)


def affinity(declared: str) -> str:
    """The affinity of a declared type. https://sqlite.org/datatype3.html#determination_of_column_affinity"""
    upper = declared.upper()
    if "INT" in upper:
        return "INTEGER"
    if any(word in upper for word in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if "BLOB" in upper or not upper:
        return "BLOB"
    return "REAL" if any(word in upper for word in ("REAL", "FLOA", "DOUB")) else "NUMERIC"


def shell() -> apsw.Connection:
    """An empty SQLite database in memory, whose values cannot fill it."""
    connection = apsw.Connection(":memory:")
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, 1 << 24)
    return connection


def refusable(work: Callable[[], T]) -> T | Refused:
    """What ``work`` returns, or its refusal."""
    try:
        return work()
    except Refusal as refusal:
        return Refused(str(refusal))
    except RecursionError:
        return Refused("its expressions lie in each other too deeply")


def query(text: str, relations: Mapping[str, Shape]) -> exp.Expr:
    """The tree of a SELECT over ``relations`` (tables and views alike, by name); Refusal when it is not certain."""
    try:
        tree = sqlglot.parse_one(text, dialect=_Dialect)
        written = [_bracketed(tree).sql(_Dialect), _joined(tree)]
    except SqlglotError as error:
        raise Refusal(f"sqlglot does not read it: {str(error).splitlines()[0]}") from error
    if not isinstance(tree, exp.Query | exp.Values):
        raise Refusal("it is no SELECT")
    wanted = {table.name.lower() for table in tree.find_all(exp.Table)}
    database = shell()
    for name, columns in relations.items():
        if name.lower() in wanted:
            columns = list(columns)
            _refuse_own_collations(tree, columns)
            listed = ", ".join(f"{quoted(c)} {kind} COLLATE {_known(collation)}" for c, kind, collation in columns)
            database.execute(f"CREATE TABLE {quoted(name)} ({listed})")
    if _code(database, text) not in [_code(database, w) for w in written]:
        raise Refusal("sqlglot reads it otherwise than SQLite does; write brackets around its operations")
    return tree


def _known(collation: str) -> str:
    return collation if collation.upper() in COLLATIONS else "BINARY"


def _refuse_own_collations(tree: exp.Expr, columns: Shape) -> None:
    """Refusal where the query may compare by a collation that only the application knows."""
    named = {column.name.lower() for column in tree.find_all(exp.Column)}
    every = any(tree.find_all(exp.Star))
    for name, _, collation in columns:
        if _known(collation) != collation and (every or name.lower() in named):
            raise Refusal(f"the collation {collation} of {name} is the application's own")


def _code(database: apsw.Connection, text: str) -> list[Any]:
    try:
        return [row[1:7] for row in database.execute(f"EXPLAIN {text}")]
    except apsw.SQLError as error:
        kind, _, name = str(error).rpartition(": ")
        reasons = {
            "no such function": f"the function {name}() is the application's own",
            "no such collation sequence": f"the collation {name} is the application's own",
            "no such table": f"it reads {name}, which is not carried",
        }
        raise Refusal(reasons.get(kind, f"SQLite does not take it by itself: {error}")) from error
    except UnicodeDecodeError as error:
        raise Refusal("it has a blob literal") from error


def expression(text: str, columns: Shape, table: str = "t") -> exp.Expr:
    """The tree of an expression over the columns of one table; Refusal when it is not certain."""
    columns = list(columns)
    source = f" FROM {quoted(table)}" if columns else ""
    tree = query(f"SELECT ({text}\n){source}", {table: columns} if columns else {})
    selected = tree.expressions
    if len(selected) != 1 or not isinstance(selected[0], exp.Paren):
        raise Refusal("it is not one expression")
    inner: exp.Expr = selected[0].this
    return inner
