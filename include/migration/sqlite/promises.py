"""Counts the rows that break what a table promises: its foreign keys, its CHECKs; and how long its index keys are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import apsw

from migration.catalog import Catalog, Column, ForeignKey, Index
from migration.profile import ColumnProfile, Evidence
from migration.sqlite.catalog import quoted
from migration.sqlite.scanning import Scan, statement

# What evaluation may end in where a value or a function is not what the schema's text expects.
_CANNOT = (apsw.SQLError, apsw.TooBigError, apsw.MismatchError)


def violations(scan: Scan) -> tuple[Evidence | None, ...]:
    """Per CHECK the rows for which it is false, which NULL is not; None where SQLite cannot tell."""
    # The line's end closes a comment at the end of the text.
    broken = [f"NOT ({check.text}\n)" for check in scan.table.checks]
    compiled = [condition for condition in broken if _compiles(scan, condition)]
    counts: dict[str, int | None]
    try:
        counts = dict(scan.ask({condition: _count(condition) for condition in compiled}))
    except _CANNOT:
        counts = {condition: _counted(scan, condition) for condition in compiled}
    return tuple(None if (n := counts.get(c)) is None else scan.evidence(n, c) for c in broken)


def _compiles(scan: Scan, condition: str) -> bool:
    try:
        scan.sample("NULL", condition, 0)
    except _CANNOT:
        return False
    return True


def _count(condition: str) -> str:
    return f"count(*) FILTER (WHERE {condition})"


def _counted(scan: Scan, condition: str) -> int | None:
    try:
        count: int = scan.ask({"count": _count(condition)})["count"]
    except _CANNOT:
        return None
    return count


def orphans(scan: Scan, catalog: Catalog, profiles: Mapping[str, ColumnProfile]) -> tuple[Evidence | None, ...]:
    """Per foreign key the rows whose parent PostgreSQL would not find; None where that cannot be asked.

    Values are the same when their texts are, a whole real's being that of the integer; blobs are only blobs. SQLite's
    own idea is laxer: it applies the parent's affinity and collation, and so finds 'a' for 'A' and 5 for '05'.
    """
    columns = {c.name.lower(): c for c in scan.table.columns}
    keys = scan.table.foreign_keys
    parents = {t.name.lower(): {c.name.lower(): c for c in t.columns} for t in catalog.tables}
    return tuple(_orphans(scan, key, columns, parents.get(key.parent.lower(), {}), profiles) for key in keys)


def _orphans(
    scan: Scan,
    key: ForeignKey,
    columns: Mapping[str, Column],
    parents: Mapping[str, Column],
    profiles: Mapping[str, ColumnProfile],
) -> Evidence | None:
    own = [columns.get(c.lower()) for c in key.columns]
    other = [parents.get(c.lower()) for c in key.parent_columns]
    pairs = [(c, p) for c, p in zip(own, other, strict=False) if c and p]
    if not pairs or not len(pairs) == len(own) == len(other):
        return None
    forms = [_forms(profiles[c.name], c, p) for c, p in pairs]
    given = " AND ".join(f"{quoted(c.name)} IS NOT NULL" for c, _ in pairs)
    values, wanted = (", ".join(form[side] for form in forms) for side in (0, 1))
    # IS NOT TRUE, since a NULL among the parents makes NULL of false.
    found = statement("((", values, ") IN (SELECT", wanted, "FROM", quoted(key.parent), "))")
    condition = f"{given} AND {found} IS NOT TRUE"
    count = _counted(scan, condition)
    return None if count is None else scan.evidence(count, condition)


def _forms(profile: ColumnProfile, child: Column, parent: Column) -> tuple[str, str]:
    """SQL for both sides' values in a form in which the same values are equal.

    The columns themselves where SQLite converts neither side and the parent's own index can serve, texts otherwise.
    """
    c, p = quoted(child.name), quoted(parent.name)
    kinds = {affinity(child.declared_type), affinity(parent.declared_type)}
    integers = profile.values == profile.integers.count and kinds <= {"integer", "numeric"}
    texts = profile.values == profile.texts.count and kinds == {"text"}
    if (integers or texts) and parent.declared_type.upper() != "ANY":  # of a STRICT table it holds anything
        return f"{c} COLLATE BINARY", p
    return _canonical(c), _canonical(p)


def _canonical(x: str) -> str:
    whole = f"CAST({x} AS INTEGER)"
    same = f"{x} COLLATE BINARY = {whole}"
    return (
        f"CASE WHEN typeof({x}) = 'integer' THEN CAST({x} AS TEXT)"
        f" WHEN typeof({x}) = 'real' AND {same} THEN CAST({whole} AS TEXT) ELSE {x} END COLLATE BINARY"
    )


def affinity(declared: str) -> str:
    """A column's affinity by its declared type: https://sqlite.org/datatype3.html#determination_of_column_affinity."""
    upper = declared.upper()
    if "INT" in upper:
        return "integer"
    if any(word in upper for word in ("CHAR", "CLOB", "TEXT")):
        return "text"
    if "BLOB" in upper or not upper:
        return "blob"
    return "real" if any(word in upper for word in ("REAL", "FLOA", "DOUB")) else "numeric"


def index_bytes(scan: Scan, profiles: Mapping[str, ColumnProfile]) -> dict[str, int]:
    """Per index the greatest sum of the bytes of one row's text and blob keys, of those that are columns."""
    questions = {index.name: _key_bytes(scan, index, profiles) for index in scan.table.indexes}
    answers = scan.ask({name: f"max({size})" for name, size in questions.items() if size})
    return {name: int(answers.get(name) or 0) for name in questions}


def _key_bytes(scan: Scan, index: Index, profiles: Mapping[str, ColumnProfile]) -> str:
    named: Sequence[ColumnProfile] = [profiles[k.column] for k in index.keys if k.column]
    parts = []
    for profile in named:
        x = quoted(profile.name)
        if profile.texts:
            parts.append(f"CASE typeof({x}) WHEN 'text' THEN {scan.size(x)} ELSE 0 END")
        if profile.blobs:
            parts.append(f"CASE typeof({x}) WHEN 'blob' THEN octet_length({x}) ELSE 0 END")
    return " + ".join(parts)
