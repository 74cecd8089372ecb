"""Every type: what is equal passes, whatever its spelling; the smallest change of any value is found and named."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB

from migration.errors import TargetError, VerificationFailed
from migration.plan import ColumnPlan, TablePlan
from migration.verify.codecs import NULL, SEPARATOR
from migration.verify.values import NULL_DOUBLE
from tests.conftest import Server
from tests.engine.cast_samples import MATRIX, Samples
from tests.engine.support import Raw
from tests.engine.verify_case import Case, one_database

TIMES = sa.DateTime(timezone=True)
MARK, BETWEEN = NULL.decode(), SEPARATOR.decode()
DDL = "CREATE TABLE t (id INTEGER PRIMARY KEY, v)"


def models(type_: Any) -> sa.MetaData:
    """A table of an integer key and one column of the type."""
    found = sa.MetaData()
    sa.Table("t", found, sa.Column("id", sa.Integer, primary_key=True), sa.Column("v", type_))
    return found


@pytest.fixture(scope="module")
def dsn(postgres_server: Server) -> Iterator[str]:
    with one_database(postgres_server) as dsn:
        yield dsn


@pytest.fixture
def cases(dsn: str, tmp_path: Path) -> Iterator[Any]:
    """Makes a case for one type: source values against target literals, both with ids from 1."""
    made: list[Case] = []

    def make(type_: Any, sources: list[Any], targets: list[Any], cast: str | None = None) -> Case:
        plan = {"t": TablePlan(columns={"v": ColumnPlan(cast=cast)})}
        case = Case(dsn, tmp_path, models(type_), DDL, tables=plan)
        made.append(case)
        for i, value in enumerate(sources, 1):
            mark, bound = ("CAST(? AS TEXT)", bytes(value)) if isinstance(value, Raw) else ("?", value)
            case.fill(f"INSERT INTO t VALUES (?, {mark})", [(i, bound)])
        case.stage("t", [(i, value) for i, value in enumerate(targets, 1)])
        return case

    yield make
    for case in made:
        case.close()


def as_type(line: Samples, text: str) -> sql.Composable:
    """A target value written as PostgreSQL prints it."""
    kind = line.type.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    return sql.SQL("CAST({} AS {})").format(sql.Literal(text), sql.SQL(kind))


@pytest.mark.parametrize("name", MATRIX)
def test_every_value_that_crosses_is_found_equal(cases: Any, name: str) -> None:
    line = MATRIX[name]
    sources = [value for (_, value), _ in line.accepted] + [None]
    targets: list[Any] = [as_type(line, text) for _, text in line.accepted]
    case = cases(line.type, sources, [*targets, None], line.cast)
    figures = case.verify("t")
    assert figures["rows"] == len(sources)
    assert figures["values"] == 2 * len(sources)
    assert case.verification("t")["ok"]


@pytest.mark.parametrize("name", MATRIX)
def test_no_value_passes_for_its_neighbour(cases: Any, name: str) -> None:
    """Each row of the target holds what belongs to the next one; only rows that mean the same may pass."""
    line = MATRIX[name]
    sources = [value for (_, value), _ in line.accepted] + [None]
    texts: list[str | None] = [text for _, text in line.accepted]
    moved = [*texts[1:], None, texts[0]]
    case = cases(line.type, sources, [None if x is None else as_type(line, x) for x in moved], line.cast)
    with pytest.raises(VerificationFailed):
        case.verify("t")
    differing = [f"[{i}]" for i, (x, y) in enumerate(zip([*texts, None], moved, strict=True), 1) if x != y]
    assert [d[0] for d in case.differences("t")] == differing
    assert {d[1:3] for d in case.differences("t")} == {("v", "changed")}


@pytest.mark.parametrize("name", MATRIX)
def test_no_value_that_cannot_cross_passes_for_null_or_for_anything(cases: Any, name: str) -> None:
    """A loader that loads what it must not is found, whatever it makes of the value."""
    line = MATRIX[name]
    refused = [value for _, value in line.refused if not (isinstance(value, str) and len(value) > 500)]
    anything = as_type(line, line.accepted[0][1])
    sources = [v for v in refused for _ in range(2)]
    case = cases(line.type, sources, [x for _ in refused for x in (None, anything)], line.cast)
    with pytest.raises(VerificationFailed):
        case.verify("t")
    assert len(case.differences("t")) == len(sources)


ONE_CHARACTER = [
    pytest.param(sa.Text(), "abc", "abd", id="one character"),
    pytest.param(sa.Text(), "abc", "abc ", id="a space at the end"),
    pytest.param(sa.Text(), " abc", "abc", id="a space at the beginning"),
    pytest.param(sa.Text(), "a b", "a\u00a0b", id="another space"),
    pytest.param(sa.Text(), "a\nb", "a\r\nb", id="a line ending"),
    pytest.param(sa.Text(), "\u00e9", "e\u0301", id="a normalisation form"),
    pytest.param(sa.Text(), "abc", "ABC", id="case"),
    pytest.param(sa.Text(), "", None, id="an empty text for NULL"),
    pytest.param(sa.Text(), None, "", id="NULL for an empty text"),
    pytest.param(sa.Text(), None, "NULL", id="NULL for the text NULL"),
    pytest.param(sa.Text(), MARK, None, id="what stands for NULL inside, for NULL"),
    pytest.param(sa.Text(), None, MARK, id="NULL for what stands for it inside"),
    pytest.param(sa.Text(), "\ufffd", "?", id="a replacement character"),
    pytest.param(sa.String(9), "0", "00", id="a digit of a text"),
    pytest.param(sa.Double(), 0.1, 0.1 + 2**-56, id="one bit of a double"),
    pytest.param(sa.Double(), 0.0, -0.0, id="the sign of a zero"),
    pytest.param(sa.Double(), 0.5, float("nan"), id="a double that is no number"),
    pytest.param(sa.Double(), None, float("nan"), id="NULL for a double that is no number"),
    pytest.param(
        sa.Double(), None, struct.unpack(">d", NULL_DOUBLE)[0], id="NULL for the very double that stands for it"
    ),
    pytest.param(sa.BigInteger(), 2**53 + 1, 2**53, id="an integer through a double"),
    pytest.param(sa.Integer(), 1, -1, id="a sign"),
    pytest.param(sa.Numeric(10, 2), 0.1, sql.SQL("0.11"), id="a cent"),
    pytest.param(sa.Numeric(), 0.1, sql.SQL("0.1000000000000000055511151231257827"), id="a double written out"),
    pytest.param(sa.Numeric(), 1.5, sql.SQL("'NaN'"), id="a numeric that is no number"),
    pytest.param(sa.Boolean(), 1, False, id="a truth"),
    pytest.param(sa.LargeBinary(), b"\0", b"", id="a NUL byte"),
    pytest.param(sa.LargeBinary(), b"ab", b"ac", id="a byte"),
    pytest.param(sa.LargeBinary(), b"", None, id="an empty blob for NULL"),
    pytest.param(sa.LargeBinary(), None, b"", id="NULL for an empty blob"),
    pytest.param(TIMES, "2024-01-01 00:00:00", "2024-01-01 00:00:00.000001Z", id="one microsecond"),
    pytest.param(TIMES, "2024-01-01 00:00:00", "2024-01-01 00:00:00+01", id="a bare time read in a zone"),
    pytest.param(TIMES, "2024-01-01T00:00:00.123Z", "2024-01-01 00:00:00Z", id="lost milliseconds"),
    pytest.param(TIMES, "2024-02-30", "2024-03-01Z", id="30 February moved into March"),
    pytest.param(TIMES, "2024-01-01 24:00:00", "2024-01-02Z", id="24:00 moved into the next day"),
    pytest.param(TIMES, "2024-01-01 00:00:60", "2024-01-01 00:01:00Z", id="a leap second"),
    pytest.param(TIMES, "2024-01-01 00:00:00.1234567", "2024-01-01 00:00:00.123457Z", id="a rounded fraction"),
    pytest.param(TIMES, "", None, id="an empty time for NULL"),
    pytest.param(TIMES, "9999-12-31", "infinity", id="infinity"),
    pytest.param(sa.DateTime(), "2024-01-01", "2024-01-01 00:00:00.5", id="half a second"),
    pytest.param(sa.Date(), "2024-02-30", "2024-03-01", id="a day that is none"),
    pytest.param(sa.Date(), "2024-01-01", "2024-01-02", id="a day"),
    pytest.param(JSONB(), "1", sql.SQL("'1.0'"), id="a number's scale"),
    pytest.param(JSONB(), "1.10", sql.SQL("'1.1'"), id="a zero of a scale"),
    pytest.param(JSONB(), "true", sql.SQL("'1'"), id="true for 1"),
    pytest.param(JSONB(), "null", None, id="JSON's null for NULL"),
    pytest.param(JSONB(), None, sql.SQL("'null'"), id="NULL for JSON's null"),
    pytest.param(JSONB(), '{"a":1,"a":2}', sql.SQL("'{\"a\":2}'"), id="a repeated key merged"),
    pytest.param(
        JSONB(),
        '{"a":1,"b":"\\u0022\\u0022","a":1}',
        sql.SQL("'{\"a\":1,\"b\":\"\\\"\\\"\"}'"),
        id="a repeated key, hidden among quotes",
    ),
    pytest.param(JSONB(), '["a"]', sql.SQL("'\"a\"'"), id="an array unpacked"),
    pytest.param(JSONB(), '{"a":1}', sql.SQL("'\"{\\\"a\\\":1}\"'"), id="an object as text"),
    pytest.param(JSONB(), "9007199254740993", sql.SQL("'9007199254740992'"), id="a number through a double"),
    pytest.param(sa.JSON(), '{"a": 1}', sql.SQL("'{\"a\":1}'"), id="json's own spaces"),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "source", "target"), ONE_CHARACTER)
def test_the_smallest_change_is_found_and_named(cases: Any, type_: Any, source: Any, target: Any) -> None:
    case = cases(type_, [None, source, None], [None, target, None])
    with pytest.raises(VerificationFailed, match=r"table t, column v, key \[2\]: the snapshot holds .*, the target"):
        case.verify("t")
    assert [d[:3] for d in case.differences("t")] == [("[2]", "v", "changed")]
    recorded = case.verification("t")
    assert (recorded["ok"], recorded["differences"]) == (False, 1)
    assert recorded["source_digest"] != recorded["target_digest"]


SPELLINGS = [
    pytest.param(
        JSONB(), '{"b": [1.50, "\\u00e9"] ,"a":null}', sql.SQL("'{\"a\":null,\"b\":[1.50,\"é\"]}'"), id="jsonb"
    ),
    pytest.param(JSONB(), '"\\u0022\\\\u0022"', sql.SQL("'\"\\\"\\\\u0022\"'"), id="an escaped quote"),
    pytest.param(TIMES, "2024-06-01T12:00:00.250+02:00", "2024-06-01 10:00:00.25+00", id="an offset"),
    pytest.param(sa.Integer(), 5.0, 5, id="a real with an integral value"),
    pytest.param(sa.Double(), 5, 5.0, id="an integer in a column of doubles"),
    pytest.param(sa.Numeric(10, 2), 5, sql.SQL("5.00"), id="an integer in a column of decimals"),
    pytest.param(sa.Numeric(), 1e300, sql.SQL("1e300"), id="a large number"),
    pytest.param(sa.Text(), f"a{MARK}b{BETWEEN}", f"a{MARK}b{BETWEEN}", id="what joins values inside"),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "source", "target"), SPELLINGS)
def test_another_spelling_of_the_same_value_passes(cases: Any, type_: Any, source: Any, target: Any) -> None:
    case = cases(type_, [None, source, None], [None, target, None])
    case.verify("t")
    recorded = case.verification("t")
    assert recorded["source_digest"] == recorded["target_digest"]


def test_values_that_shift_text_from_one_row_to_the_next_are_found(cases: Any) -> None:
    """Joined without care, the two sides would read alike."""
    sources, targets = [f"a{BETWEEN}b", "c", None, MARK], ["a", f"b{BETWEEN}c", MARK, None]
    case = cases(sa.Text(), sources, targets)
    with pytest.raises(VerificationFailed):
        case.verify("t")
    assert [d[0] for d in case.differences("t")] == ["[1]", "[2]", "[3]", "[4]"]


def test_blobs_that_shift_bytes_from_one_row_to_the_next_are_found(cases: Any) -> None:
    case = cases(sa.LargeBinary(), [b"ab", b"c", b"", b"d"], [b"a", b"bc", b"d", b""])
    with pytest.raises(VerificationFailed):
        case.verify("t")
    assert [d[0] for d in case.differences("t")] == ["[1]", "[2]", "[3]", "[4]"]


def test_swapped_rows_are_found(cases: Any) -> None:
    case = cases(sa.Text(), ["x", "y"], ["y", "x"])
    with pytest.raises(VerificationFailed):
        case.verify("t")
    assert [d[3:] for d in case.differences("t")] == [("'x'", "'y'"), ("'y'", "'x'")]


def test_a_long_value_is_shown_around_its_first_difference(cases: Any) -> None:
    text = "".join(f"{i:06d}" for i in range(5000))
    case = cases(sa.Text(), [text], [text[:20_000] + "#" + text[20_001:]])
    with pytest.raises(VerificationFailed):
        case.verify("t")
    ((_, _, _, source, target),) = case.differences("t")
    assert "003333" in source
    assert "#" in target
    assert max(len(source), len(target)) < 500


@pytest.mark.parametrize("type_", [sa.REAL(), sa.CHAR(3), sa.Uuid(), sa.Time()])
def test_a_type_that_cannot_be_compared_exactly_is_refused_by_name(cases: Any, type_: Any) -> None:
    case = cases(type_, [None], [None])
    with pytest.raises(TargetError, match=r"Column t\.v has type .* cannot compare exactly"):
        case.verify("t")
