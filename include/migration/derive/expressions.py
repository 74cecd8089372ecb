"""Compiles a SQLite expression tree to PostgreSQL, node by node; what is not proven to mean the same is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from sqlglot import exp

from migration.derive import functions, operators, times
from migration.derive.parse import Refusal
from migration.derive.values import (
    INT8,
    NULL,
    Carried,
    Value,
    as_text,
    boolean,
    column,
    integer,
    literal,
    number,
    quote,
    refused,
    truth,
)

OVERFLOW = "a result beyond the type's range is an error in PostgreSQL, where SQLite goes on with reals"
_COMPARISONS = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM", exp.NullSafeNEQ: "IS DISTINCT FROM",
}  # fmt: skip
_ARITHMETIC = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%"}
_SHIFTS: dict[type[exp.Expr], str] = {exp.BitwiseLeftShift: "<<", exp.BitwiseRightShift: ">>"}
_BITS: dict[type[exp.Expr], str] = {exp.BitwiseAnd: "&", exp.BitwiseOr: "|", **_SHIFTS}


class Expressions:
    """Compiles expressions over one set of columns; ``notes`` collects what a person should know of the results."""

    def __init__(self, columns: Mapping[str, Carried]) -> None:
        self.columns = {name.lower(): column(carried) for name, carried in columns.items()}
        self.notes: dict[str, None] = {}

    def value(self, node: exp.Expr) -> Value:
        """The translation of ``node``; Refusal names what stands in the way."""
        kind = type(node)
        if kind in _COMPARISONS:
            return self._compared(_COMPARISONS[kind], node.this, node.expression)
        if kind in _ARITHMETIC:
            op = _ARITHMETIC[kind]
            result = operators.arithmetic(op, self.operand(node.this), self.operand(node.expression))
            if result.type == "double precision":
                self.notes[OVERFLOW] = None
            return self._bounded(result)
        if kind in _BITS:
            return self._bits(node)
        handler = self.HANDLERS.get(kind)
        if handler is None:
            raise Refusal(f"{node.key.upper()} is not translated: {node.sql('sqlite')}")
        return handler(self, node)

    def operand(self, node: exp.Expr) -> Value:
        """As :meth:`value`, where a COLLATE operator inside would reach beyond what it stands at."""
        value = self.value(node)
        if value.explicit:
            raise Refusal(f"COLLATE inside an operation: {node.sql('sqlite')}")
        return value

    def condition(self, node: exp.Expr) -> str:
        """``node`` as a PostgreSQL condition."""
        return truth(self.value(node)).sql

    def named(self, node: exp.Column) -> Value | None:
        """The column of that name; None when there is none."""
        return self.columns.get(node.name.lower())

    def _column(self, node: exp.Expr) -> Value:
        assert isinstance(node, exp.Column)
        found = self.named(node)
        if found is not None:
            return found
        if node.this.args.get("quoted") and not node.table:
            return literal(node.name)  # "text" that is no column is a string
        raise Refusal(f"there is no column {node.sql('sqlite')}")

    def _literal(self, node: exp.Expr) -> Value:
        if node.args["is_string"]:
            return literal(node.name)
        if node.name.isdecimal() and int(node.name) < INT8:
            return literal(int(node.name))
        return literal(float(node.name))

    def _negative(self, node: exp.Expr) -> Value:
        inner = node.this.this if isinstance(node.this, exp.Paren) else node.this
        if isinstance(inner, exp.Literal) and inner.name == str(INT8):
            return literal(-INT8)
        value = number(self.operand(node.this))
        if isinstance(value.literal, int | float):
            return literal(-value.literal)
        if value.kind == "int":
            sql = value.sql if value.type == "bigint" else f"{value.sql}::bigint"
            return self._bounded(Value("int", f"(- {sql})", "bigint", low=-value.high, high=-value.low))
        if value.kind == "null":
            return NULL
        return Value(value.kind, f"(- {value.sql})", value.type, low=-value.high, high=-value.low)

    def _bounded(self, value: Value) -> Value:
        if value.kind == "int" and not -INT8 <= value.low <= value.high < INT8:
            self.notes[OVERFLOW] = None
        return replace(value, low=max(value.low, -INT8), high=min(value.high, INT8 - 1))

    def _bits(self, node: exp.Expr) -> Value:
        a, b = (integer(self.operand(n)) for n in (node.this, node.expression))
        shift = type(node) in _SHIFTS
        if a.kind != "int" or b.kind != "int" or (shift and not 0 <= b.low <= b.high < 64):
            raise Refusal(f"bits of what is no integer, or shifted by no constant below 64: {node.sql('sqlite')}")
        one, two = (v.sql if v.type == "bigint" else f"{v.sql}::bigint" for v in (a, b))
        two = f"{b.sql}::integer" if shift else two
        return Value("int", f"({one} {_BITS[type(node)]} {two})", "bigint")

    def _inverted(self, node: exp.Expr) -> Value:
        value = integer(self.operand(node.this))
        if value.kind != "int":
            raise refused(value, "is an operand of ~")
        return Value("int", f"(~ {value.sql}::bigint)", "bigint")

    def _logical(self, node: exp.Expr) -> Value:
        op = "AND" if isinstance(node, exp.And) else "OR"
        parts, pending = [], [node.expression, node.this]
        while pending:  # a OR b OR c is one list
            part = pending.pop()
            if type(part) is type(node):
                pending += [part.expression, part.this]
            else:
                parts.append(self.condition(part))
        return boolean(f"({f' {op} '.join(parts)})")

    def _not(self, node: exp.Expr) -> Value:
        return boolean(f"(NOT {self.condition(node.this)})")

    def _compared(self, op: str, left: exp.Expr, right: exp.Expr) -> Value:
        for one, two in ((left, right), (right, left)):
            if (
                op in ("=", "<>")
                and isinstance(two, exp.Literal)
                and isinstance(one, exp.Anonymous)
                and one.name.lower() == "typeof"
            ):
                return self._storage(op, self.operand(one.expressions[0]), two.name)
        word = right
        while isinstance(word, exp.Paren | exp.Collate):
            word = word.this
        if op.startswith("IS") and isinstance(word, exp.Boolean):
            return self._true(left, word, negated=op == "IS DISTINCT FROM")
        return operators.compare(op, self.value(left), self.value(right))

    def _storage(self, op: str, value: Value, name: str) -> Value:
        known = functions.storage(value)
        if name in (known, "null"):
            return boolean(f"({value.stored.sql} IS {'NULL' if (name == 'null') == (op == '=') else 'NOT NULL'})")
        return boolean("false" if op == "=" else "true")

    def _is(self, node: exp.Expr) -> Value:
        negated = bool(node.args.get("negate"))
        if isinstance(node.expression, exp.Boolean):
            return self._true(node.this, node.expression, negated=negated)
        return operators.compare(
            "IS DISTINCT FROM" if negated else "IS NOT DISTINCT FROM",
            self.value(node.this),
            self.value(node.expression),
        )

    def _true(self, node: exp.Expr, word: exp.Expr, *, negated: bool) -> Value:
        return boolean(f"({self.condition(node)} IS {'NOT ' if negated else ''}{'TRUE' if word.this else 'FALSE'})")

    def _between(self, node: exp.Expr) -> Value:
        value = self.value(node.this)
        low, high = (
            operators.compare(op, value, self.value(node.args[arg])) for op, arg in ((">=", "low"), ("<=", "high"))
        )
        return boolean(f"({low.sql} AND {high.sql})")

    def _in(self, node: exp.Expr) -> Value:
        if node.args.get("query") or not isinstance(node, exp.In):
            raise Refusal(f"a subquery: {node.sql('sqlite')}")
        left = self.value(node.this)
        # The list's members have no affinity, whatever they are. https://sqlite.org/lang_expr.html#in_op
        items = [replace(self.value(n), affinity="", collation="", explicit=False) for n in node.expressions]
        if not items:
            return boolean("false")
        if left.kind != "null":
            sides = [operators.sides("=", integer(left), item) for item in items]
            if len({one for one, _ in sides}) == 1:
                return boolean(f"({sides[0][0]} IN ({', '.join(two for _, two in sides)}))")
        return boolean(f"({' OR '.join(operators.compare('=', left, item).sql for item in items)})")

    def _like(self, node: exp.Expr, escape: str = "") -> Value:
        text, pattern = self.operand(node.this), self.operand(node.expression)
        if isinstance(pattern.literal, str):
            sql = quote(_like_pattern(pattern.literal, escape))
        elif escape:
            raise Refusal(f"LIKE with ESCAPE and a pattern that is no constant: {pattern.sql}")
        else:
            sql = f"{as_text(pattern).sql} ESCAPE ''"
        word = "NOT ILIKE" if node.args.get("negate") else "ILIKE"
        return boolean(f'({as_text(text).sql} COLLATE "C" {word} {sql})')  # under "C" it folds A to Z alone

    def _escape(self, node: exp.Expr) -> Value:
        escape = self.operand(node.expression).literal
        if not isinstance(node.this, exp.Like) or not isinstance(escape, str) or len(escape) != 1 or escape in "%_":
            raise Refusal(f"ESCAPE: {node.sql('sqlite')}")
        return self._like(node.this, escape)

    def _glob(self, node: exp.Expr) -> Value:
        pattern = self.operand(node.expression).literal
        if not isinstance(pattern, str):
            raise Refusal(f"GLOB with a pattern that is no constant: {node.sql('sqlite')}")
        return boolean(f'({as_text(self.operand(node.this)).sql} COLLATE "C" ~ {quote(_glob_pattern(pattern))})')

    def _case(self, node: exp.Expr) -> Value:
        base = self.operand(node.this) if node.this else None
        conditions, results = [], []
        for branch in node.args["ifs"]:
            when = self.operand(branch.this)
            conditions.append(operators.compare("=", base, when).sql if base else truth(when).sql)
            results.append(self.operand(branch.args["true"]))
        default = node.args.get("default")
        return functions.case([*results, self.operand(default) if default else NULL], conditions)

    def _collate(self, node: exp.Expr) -> Value:
        return replace(self.value(node.this), collation=node.expression.name.upper(), explicit=True)

    def _concatenated(self, node: exp.Expr) -> Value:
        parts, pending = [], [node.expression, node.this]
        while pending:
            part = pending.pop()
            if isinstance(part, exp.DPipe):
                pending += [part.expression, part.this]
            else:
                parts.append(as_text(self.operand(part)).sql)
        return Value("text", f"({' || '.join(parts)})", "text")

    def _function(self, node: exp.Expr) -> Value:
        name = node.name.lower()
        if any(isinstance(a, exp.Star | exp.Distinct | exp.Order) for a in node.expressions):
            raise Refusal(f"an aggregate: {node.sql('sqlite')}")
        arguments = [self.operand(a) for a in node.expressions]
        if name == "+":  # unary plus: the value without its affinity
            return replace(self.value(node.expressions[0]), affinity="")
        result = self._bounded(functions.call(name, arguments))
        if name == "json_valid" and result.sql.endswith(" IS JSON)"):
            self.notes["it needs PostgreSQL 16 or newer"] = None
        return result

    HANDLERS: ClassVar[dict[type[exp.Expr], Callable[[Any, exp.Expr], Value]]] = {
        exp.Paren: lambda self, node: self.value(node.this),
        exp.Column: _column,
        exp.Literal: _literal,
        exp.HexString: lambda self, node: literal(bytes.fromhex(node.name)),
        exp.Null: lambda self, node: NULL,
        exp.Boolean: lambda self, node: literal(int(bool(node.this))),
        exp.Neg: _negative,
        exp.BitwiseNot: _inverted,
        exp.And: _logical,
        exp.Or: _logical,
        exp.Not: _not,
        exp.Is: _is,
        exp.Between: _between,
        exp.In: _in,
        exp.Like: lambda self, node: self._like(node),
        exp.Escape: _escape,
        exp.Glob: _glob,
        exp.Case: _case,
        exp.Collate: _collate,
        exp.DPipe: _concatenated,
        exp.Anonymous: _function,
        exp.Cast: lambda self, node: self._bounded(functions.cast(self.operand(node.this), node.args["to"].name)),
        exp.CurrentTimestamp: lambda self, node: times.current("timestamp"),
        exp.CurrentDate: lambda self, node: times.current("date"),
        exp.CurrentTime: lambda self, node: times.current("time"),
    }


def _like_pattern(pattern: str, escape: str) -> str:
    """The pattern with PostgreSQL's backslash as the escape; SQLite has none but the one that is named."""
    found, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        if escape and char == escape:
            at += 1
            if at == len(pattern):
                raise Refusal("LIKE with a pattern that ends in its ESCAPE character")
            found += f"\\{pattern[at]}"
        else:
            found += "\\\\" if char == "\\" else char
        at += 1
    return found


def _glob_pattern(pattern: str) -> str:
    """GLOB's pattern as a regular expression."""
    found, at = "^", 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "[":
            start = at + 1 if pattern[at : at + 1] == "^" else at
            end = pattern.find("]", start + 1)  # a bracket that comes first is one of the set
            if end < 0:
                raise Refusal(f"GLOB with a bracket that nothing closes: {pattern!r}")
            found += f"[{'^' if start > at else ''}{_glob_set(pattern[start:end])}]"
            at = end + 1
        elif char in "*?":
            found += ".*" if char == "*" else "."
        else:
            found += char if char.isalnum() or not char.isascii() else f"\\{char}"
    return found + "$"


def _glob_set(members: str) -> str:
    found, at = "", 0
    while at < len(members):
        last = members[at + 2 : at + 3] if members[at + 1 : at + 2] == "-" else ""
        if members[at] == "-" or members[at] > (last or members[at]) or members[at + 1 :] == "-":
            raise Refusal(f"GLOB with the set {members!r}")
        found += "-".join(c if c.isalnum() else f"\\{c}" for c in (members[at], last) if c)
        at += 3 if last else 1
    return found
