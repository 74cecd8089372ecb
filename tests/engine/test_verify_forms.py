"""Values in a declared form: only the right one passes, only of a value that needs it, and only with its record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.dialects import postgresql as pg

from migration.plan import ColumnPlan, Invalid, TablePlan
from tests.conftest import Server
from tests.engine.support import Raw
from tests.engine.verify_case import Case, cases_of_t, found, one_database

Of = Callable[..., Case]
TEXT, BYTES, JSON = sa.Text(), sa.LargeBinary(), sa.JSON()


@pytest.fixture(scope="module")
def dsn(postgres_server: Server) -> Iterator[str]:
    with one_database(postgres_server) as dsn:
        yield dsn


@pytest.fixture
def of(dsn: str, tmp_path: Path) -> Iterator[Of]:
    """Makes a case: row 2 has a value that takes the declared form, the target holds ``target`` there."""
    with cases_of_t(dsn, tmp_path) as make:

        def case(form: str, kind: Any, source: Any, target: Any, *, record: bool = True, **options: Any) -> Case:
            columns = [sa.Column("id", sa.Integer, primary_key=True), sa.Column("v", kind)]
            plan = {"t": TablePlan(columns={"v": ColumnPlan(invalid=Invalid(form), cast=options.pop("cast", None))})}
            made = make(columns, "CREATE TABLE t (id INTEGER PRIMARY KEY, v)", tables=plan, **options)
            mark, bound = ("CAST(? AS TEXT)", bytes(source)) if isinstance(source, Raw) else ("?", source)
            made.fill("INSERT INTO t VALUES (1, NULL), (3, NULL)")
            made.fill(f"INSERT INTO t VALUES (2, {mark})", [(bound,)])
            made.stage("t", [(1, None), (2, target), (3, None)], altered=int(record))
            if record:
                made.alter("t", "[2]", "v", form, *stored(source))
            return made

        yield case


def stored(value: Any) -> tuple[str, bytes | None]:
    match value:
        case None:
            return "null", None
        case Raw():
            return "text", bytes(value)
        case str():
            return "text", value.encode()
        case bytes():
            return "blob", value
    return ("integer" if isinstance(value, int) else "real"), repr(value).encode()


RIGHT = [
    ("strip", TEXT, "a\0b\0", "ab"),
    ("strip", sa.String(2), "\0ab", "ab"),
    ("strip", JSON, "[\0 1]", sql.SQL("'[ 1]'")),
    ("strip", pg.JSONB(), "[\0 1]", sql.SQL("'[1]'")),
    ("strip", sa.Date(), "2024-02-29\0", "2024-02-29"),
    ("text", TEXT, 5, "5"),
    ("text", TEXT, 1e300, "1e+300"),
    ("text", TEXT, -0.0, "-0.0"),
    ("text", sa.String(3), float("inf"), "inf"),
    ("bytes", BYTES, "é\0", "é\0".encode()),
    ("bytes", BYTES, 5, b"5"),
    ("bytes", BYTES, 0.1, b"0.1"),
    ("bytes", BYTES, "", b""),
    ("bytes", BYTES, Raw(b"\xff\xfe"), b"\xff\xfe"),
]


@pytest.mark.parametrize(("form", "kind", "source", "target"), RIGHT)
def test_the_declared_form_passes(of: Of, form: str, kind: Any, source: Any, target: Any) -> None:
    assert of(form, kind, source, target).verify("t")["rows"] == 3


@pytest.mark.parametrize(("form", "kind", "source", "target"), RIGHT)
def test_the_declared_form_without_its_record_is_found(of: Of, form: str, kind: Any, source: Any, target: Any) -> None:
    assert found(of(form, kind, source, target, record=False)) == [("[2]", "v", "changed")]


@pytest.mark.parametrize(("form", "kind", "source", "target"), RIGHT)
def test_null_in_place_of_the_declared_form_is_found(of: Of, form: str, kind: Any, source: Any, target: Any) -> None:
    assert found(of(form, kind, source, None)) == [("[2]", "v", "changed")]


@pytest.mark.parametrize(
    ("form", "kind", "source", "target"),
    [
        ("strip", TEXT, "a\0b\0", "a"), ("strip", TEXT, "a\0b", "a b"), ("strip", TEXT, "a\0 b", "ab"),
        ("strip", TEXT, "\0", " "), ("strip", JSON, "[\0 1]", sql.SQL("'[1]'")), ("strip", sa.Date(), "2024-02-29\0", "2024-03-01"),
        ("text", TEXT, 5, "5.0"), ("text", TEXT, 5.0, "5"), ("text", TEXT, 0.1, "0.10"), ("text", TEXT, -0.0, "0.0"),
        ("text", TEXT, 2**53 + 1, "9007199254740992"), ("text", TEXT, float("inf"), "Infinity"), ("text", TEXT, 5, ""),
        ("bytes", BYTES, "é", "é".encode("latin-1")), ("bytes", BYTES, "a\0", b"a"), ("bytes", BYTES, 5, b"\5"),
        ("bytes", BYTES, Raw(b"\xff"), "\ufffd".encode()), ("bytes", BYTES, "a", b""), ("bytes", BYTES, 1.0, b"1"),
    ],
)  # fmt: skip
def test_another_form_than_the_declared_one_is_found(of: Of, form: str, kind: Any, source: Any, target: Any) -> None:
    assert found(of(form, kind, source, target)) == [("[2]", "v", "changed")]


@pytest.mark.parametrize(
    ("form", "kind", "source", "target"),
    [
        ("strip", TEXT, "ab", "a"), ("text", TEXT, "5", "5.0"), ("bytes", BYTES, b"a", b"b"), ("strip", JSON, "[1]", sql.SQL("'[2]'")),
        ("strip", TEXT, "ab", "ab"), ("text", TEXT, "5", "5"), ("bytes", BYTES, b"a", b"a"),
    ],
)  # fmt: skip
def test_the_record_of_an_alteration_without_cause_is_found(
    of: Of, form: str, kind: Any, source: Any, target: Any
) -> None:
    assert ("[2]", "v", "changed") in found(of(form, kind, source, target))


@pytest.mark.parametrize(
    ("form", "kind", "source", "target"),
    [
        ("strip", TEXT, 5, "5"), ("strip", TEXT, Raw(b"a\0\xff"), "a"), ("strip", sa.String(1), "a\0b", "a"),
        ("text", TEXT, "a\0", "a"), ("text", TEXT, b"a", "a"), ("text", JSON, 5, sql.SQL("'5'")),
        ("text", sa.String(2), 555, "55"), ("bytes", TEXT, 5, "5"), ("round", TEXT, 5, "5"), ("round", BYTES, 5, b"5"),
        ("strip", TEXT, 5, None), ("text", TEXT, b"a", None), ("bytes", TEXT, 5, None), ("round", TEXT, 5, None),
    ],
)  # fmt: skip
def test_a_form_that_is_not_for_the_value_is_found(of: Of, form: str, kind: Any, source: Any, target: Any) -> None:
    assert found(of(form, kind, source, target)) == [("[2]", "v", "changed")]


@pytest.mark.parametrize("declared", ["stop", "null", "quarantine", "text"])
def test_a_form_that_the_plan_does_not_declare_is_found(of: Of, declared: str) -> None:
    case = of(declared, TEXT, "a\0", "a", record=False)
    case.alter("t", "[2]", "v", "strip", "text", b"a\0")
    assert set(found(case)) == {("[2]", "v", "changed")}
    assert case.differences("t")[0][4] == f"altered (strip), where the plan says {declared}"


def test_a_wrong_original_is_found(of: Of) -> None:
    case = of("text", TEXT, 5, "5", record=False)
    case.alter("t", "[2]", "v", "text", "real", b"5")
    assert ("[2]", "v", "changed") in found(case)


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_in_a_utf16_database_the_bytes_are_those_of_utf8(of: Of, encoding: str) -> None:
    case = of("bytes", BYTES, "é", "é".encode(), record=False, encoding=encoding)
    case.pg.execute("UPDATE migration.loads SET altered = 1 WHERE run_id = %s", [case.job.run_id])
    case.alter("t", "[2]", "v", "bytes", "text", "é".encode(encoding))
    case.verify("t")
    case.spoil("t", "UPDATE {} SET v = %s WHERE id = 2", "é".encode(encoding))
    assert found(case) == [("[2]", "v", "changed")]


INTEGERS = [(5, "5"), ("5", "5"), (-(2**63), str(-(2**63))), ("x", "x")]


@pytest.mark.parametrize(("source", "target"), INTEGERS)
def test_integers_among_text_are_compared_digit_by_digit(of: Of, source: Any, target: str) -> None:
    of("stop", TEXT, source, target, record=False, cast="integer_or_text").verify("t")


@pytest.mark.parametrize(
    ("source", "target"), [(5, "05"), (5, "5.0"), ("05", "5"), (5, None), (5.0, "5"), (5.0, "5.0"), (b"5", "5")]
)
def test_integers_among_text_in_another_form_are_found(of: Of, source: Any, target: str | None) -> None:
    case = of("stop", TEXT, source, target, record=False, cast="integer_or_text")
    assert found(case) == [("[2]", "v", "changed")]
