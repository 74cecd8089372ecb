"""What did not cross as it was: only what the plan allows, for a cause that verification sees, and byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from psycopg import sql

from migration.errors import VerificationFailed
from migration.job import Params
from migration.plan import ColumnPlan, Invalid, TablePlan
from tests.conftest import Server
from tests.engine.verify_case import Case, one_database

Make = Callable[..., Case]
ROWS = [(1, 0.5, "2024-01-01", "a"), (2, 0.666, "2024-02-30", None), (3, 0.25, "2024-01-03", "c")]
Kept = Mapping[str, tuple[str, bytes | None]]
KEPT: Kept = {"id": ("integer", b"2"), "n": ("real", b"0.666"), "at": ("text", b"2024-02-30"), "v": ("null", None)}


@pytest.fixture(scope="module")
def dsn(postgres_server: Server) -> Iterator[str]:
    with one_database(postgres_server) as dsn:
        yield dsn


@pytest.fixture
def make(dsn: str, tmp_path: Path) -> Iterator[Make]:
    """Makes the case: row 2 has a number of too many digits and a day that is none."""
    made: list[Case] = []

    def case(rows: list[Any] = ROWS, *, nullable: bool = True, run: str = "stop", **policies: str) -> Case:
        models = sa.MetaData()
        sa.Table(
            "t",
            models,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("n", sa.Numeric(3, 2)),
            sa.Column("at", sa.Date),
            sa.Column("v", sa.Text, nullable=nullable),
        )
        columns = {c: ColumnPlan(invalid=Invalid(p)) for c, p in policies.items()}
        made.append(
            Case(
                dsn,
                tmp_path,
                models,
                "CREATE TABLE t (id INTEGER PRIMARY KEY, n NUMERIC, at TEXT, v TEXT)",
                tables={"t": TablePlan(columns=columns)},
                params=Params(quarantine=run),
            )
        )
        made[-1].fill("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
        return made[-1]

    yield case
    for one in made:
        one.close()


def target_row(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return (row[0], sql.SQL(str(row[1])) if row[1] is not None else None, *row[2:])


def differences(case: Case) -> list[tuple[str, str, str, str | None, str | None]]:
    with pytest.raises(VerificationFailed):
        case.verify("t")
    return case.differences("t")


def quarantined(make: Make, /, kept: Kept | None = None, **options: Any) -> Case:
    """Row 2 is in the quarantine and not in the target."""
    case = make(**options)
    case.stage("t", map(target_row, (ROWS[0], ROWS[2])), quarantined=1)
    case.quarantine("t", "[2]", "at", KEPT if kept is None else kept)
    return case


@pytest.mark.parametrize("policies", [{"at": "quarantine"}, {"n": "quarantine"}, {"run": "allow"}])
def test_a_quarantined_row_is_expected_to_be_absent(make: Make, policies: dict[str, Any]) -> None:
    case = quarantined(make, **policies)
    assert case.verify("t")["rows"] == 2
    assert case.checks("t")["balance"] == (True, "3 source rows, 2 in the target + 1 in the quarantine + 0 excluded")


def test_a_quarantined_row_that_is_in_the_target_all_the_same_is_found(make: Make) -> None:
    case = make(at="quarantine")
    rows = [target_row(ROWS[0]), (2, sql.SQL("0.67"), "2024-03-01", None), target_row(ROWS[2])]
    case.stage("t", rows, quarantined=1, source_rows=4)
    case.quarantine("t", "[2]", "at", KEPT)
    assert [d[:3] for d in differences(case)] == [("[2]", "", "extra")]


@pytest.mark.parametrize(
    ("column", "kept"),
    [
        ("at", ("text", b"2024-02-29")),
        ("at", ("blob", b"2024-02-30")),
        ("n", ("real", b"0.67")),
        ("n", ("text", b"0.666")),
        ("id", ("integer", b"3")),
        ("v", ("text", b"")),
        ("v", ("null", b"")),
        ("at", ("text", None)),
    ],
)
def test_wrong_bytes_or_storage_class_in_the_quarantine_are_found(
    make: Make, column: str, kept: tuple[str, bytes | None]
) -> None:
    case = quarantined(make, {**KEPT, column: kept}, at="quarantine")
    assert [d[:3] for d in differences(case)] == [("[2]", column, "changed")]


def test_a_value_that_the_quarantine_lacks_is_found(make: Make) -> None:
    case = quarantined(make, {c: v for c, v in KEPT.items() if c != "n"}, at="quarantine")
    assert [d[:3] for d in differences(case)] == [("[2]", "n", "changed")]


def test_a_value_of_an_unknown_column_in_the_quarantine_is_found(make: Make) -> None:
    case = quarantined(make, {**KEPT, "x": ("text", b"y")}, at="quarantine")
    assert [d[:3] for d in differences(case)] == [("[2]", "x", "extra")]


@pytest.mark.parametrize("key", ["[9]", '["2"]', "[]", "[2,2]", "2", "nonsense", "[null]", "[true]"])
def test_a_quarantined_key_that_the_source_does_not_have_is_found(make: Make, key: str) -> None:
    case = quarantined(make, at="quarantine")
    case.quarantine("t", key, "at", {})
    assert (key, "", "extra") in [d[:3] for d in differences(case)]


def test_values_of_a_row_that_the_quarantine_does_not_list_are_found(make: Make) -> None:
    case = quarantined(make, at="quarantine")
    case.pg.execute("DELETE FROM migration.quarantine WHERE run_id = %s", [case.job.run_id])
    assert {d[:3] for d in differences(case)} == {("[2]", "", "extra"), ("[2]", "", "missing")}


def test_a_quarantined_row_with_nothing_wrong_in_it_is_found(make: Make) -> None:
    case = make(run="allow")
    case.stage("t", map(target_row, (ROWS[0], (2, 0.67, "2024-03-01", None))), quarantined=1)
    case.quarantine(
        "t",
        "[3]",
        "v",
        {"id": ("integer", b"3"), "n": ("real", b"0.25"), "at": ("text", b"2024-01-03"), "v": ("text", b"c")},
    )
    missing = [d for d in differences(case) if d[0] == "[3]"]
    assert [d[1:3] for d in missing] == [("", "missing")]
    assert missing[0][4] == "it is in the quarantine, though each of its values has an exact form in the target"


def test_a_quarantine_that_the_plan_does_not_allow_is_found(make: Make) -> None:
    case = quarantined(make, n="null")
    (found,) = differences(case)
    assert found[:3] == ("[2]", "", "missing")
    assert found[4] == (
        "it is in the quarantine, which the plan does not allow for what is wrong with it (at: stop, n: null)"
    )


def test_a_null_where_the_target_allows_none_is_a_cause(make: Make) -> None:
    rows = [ROWS[0], (2, 0.5, "2024-01-01", None), ROWS[2]]
    case = make(rows, nullable=False, v="quarantine")
    case.stage("t", map(target_row, (ROWS[0], ROWS[2])), quarantined=1)
    case.quarantine("t", "[2]", "v", {**KEPT, "n": ("real", b"0.5"), "at": ("text", b"2024-01-01")})
    case.verify("t")


def altered(make: Make, target: tuple[Any, ...], **options: Any) -> Case:
    """All three rows are in the target, the second as given."""
    case = make(**options)
    case.stage("t", [target_row(ROWS[0]), target, target_row(ROWS[2])], altered=2)
    return case


ROUNDED = (2, sql.SQL("0.67"), None, None)


def declared(case: Case, number: bytes = b"0.666", action: str = "round") -> Case:
    case.alter("t", "[2]", "n", action, "real", number)
    case.alter("t", "[2]", "at", "null", "text", b"2024-02-30")
    return case


def test_values_altered_by_declaration_are_expected_so(make: Make) -> None:
    case = declared(altered(make, ROUNDED, n="round", at="null"))
    assert case.verify("t")["rows"] == 3
    recorded = case.verification("t")
    assert recorded["source_digest"] == recorded["target_digest"]


@pytest.mark.parametrize("number", ["0.66", "0.666", "0.68", "NULL"])
def test_a_value_rounded_otherwise_is_found(make: Make, number: str) -> None:
    models_scale = (2, sql.SQL(number), None, None)
    case = declared(altered(make, models_scale, n="round", at="null"))
    if number == "0.666":  # numeric(3,2) rounds it itself
        case.verify("t")
    else:
        assert [d[:3] for d in differences(case)] == [("[2]", "n", "changed")]


def test_a_value_that_should_have_become_null_is_found(make: Make) -> None:
    case = declared(altered(make, (2, sql.SQL("0.67"), "2024-03-01", None), n="round", at="null"))
    assert [d[:3] for d in differences(case)] == [("[2]", "at", "changed")]


@pytest.mark.parametrize("policies", [{"at": "null"}, {"n": "null", "at": "null"}, {"n": "quarantine", "at": "null"}])
def test_an_alteration_that_the_plan_does_not_declare_is_found(make: Make, policies: dict[str, str]) -> None:
    case = declared(altered(make, ROUNDED, **policies))
    found = differences(case)
    assert {d[:3] for d in found} == {("[2]", "n", "changed")}
    assert str(found[0][4]).startswith("altered (round), where the plan says ")


def test_an_alteration_of_a_value_that_has_an_exact_form_is_found(make: Make) -> None:
    case = make(v="null", n="round", at="null")
    case.stage("t", [(1, sql.SQL("0.5"), "2024-01-01", None), ROUNDED, target_row(ROWS[2])], altered=3)
    declared(case).alter("t", "[1]", "v", "null", "text", b"a")
    assert {d[:3] for d in differences(case)} == {("[1]", "v", "changed")}


def test_an_alteration_without_a_record_is_found(make: Make) -> None:
    case = altered(make, ROUNDED, n="round", at="null")
    assert [d[1] for d in differences(case)] == ["n", "at"]


def test_a_wrong_original_of_an_altered_value_is_found(make: Make) -> None:
    case = declared(altered(make, ROUNDED, n="round", at="null"), number=b"0.6666")
    ((key, column, kind, source, target),) = differences(case)
    assert (key, column, kind, source) == ("[2]", "n", "changed", "0.666")
    assert target == "0.6666 (real, kept as the original)"


@pytest.mark.parametrize(("key", "column"), [("[9]", "n"), ("[2]", "x"), ("nonsense", "n")])
def test_an_altered_value_of_nothing_is_found(make: Make, key: str, column: str) -> None:
    case = declared(altered(make, ROUNDED, n="round", at="null"))
    case.alter("t", key, column, "round", "real", b"1")
    assert [d[:3] for d in differences(case)] == [(key, column if key == "[2]" else "", "extra")]


def test_the_quarantine_of_a_table_without_rowid_is_named_by_its_key(dsn: str, tmp_path: Path) -> None:
    models = sa.MetaData()
    sa.Table(
        "t",
        models,
        sa.Column("k", sa.Text, primary_key=True),
        sa.Column("b", sa.LargeBinary, primary_key=True),
        sa.Column("v", sa.Integer),
    )
    plan = {"t": TablePlan(invalid=Invalid.QUARANTINE)}
    case = Case(
        dsn, tmp_path, models, "CREATE TABLE t (k TEXT, b BLOB, v, PRIMARY KEY (k, b)) WITHOUT ROWID", tables=plan
    )
    case.fill("INSERT INTO t VALUES (?, ?, ?)", [('é"', b"\0", "bad"), ('é"', b"\1", 1), ("z", b"", 2)])
    case.stage("t", [('é"', b"\1", 1), ("z", b"", 2)], quarantined=1)
    kept = {"k": ("text", 'é"'.encode()), "b": ("blob", b"\0"), "v": ("text", b"bad")}
    case.quarantine("t", '["é\\"",{"blob":"00"}]', "v", kept)
    case.verify("t")
    case.close()


def test_a_large_quarantine_is_verified_in_bounded_batches(make: Make) -> None:
    rows = [(i, 0.666 if i % 3 else 0.5, "2024-01-01", None) for i in range(3000)]
    case = make(rows, n="quarantine")
    good = [r for r in rows if r[1] == 0.5]
    case.stage("t", map(target_row, good), quarantined=len(rows) - len(good))
    identity = [case.job.run_id, "t"]
    bad = [r for r in rows if r[1] != 0.5]
    with case.pg.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO migration.quarantine VALUES (%s, %s, %s, 'n', 'real', 'inexact', 'test')",
            [[*identity, f"[{r[0]}]"] for r in bad],
        )
        cursor.executemany(
            "INSERT INTO migration.quarantined_values VALUES (%s, %s, %s, %s, %s, %s)",
            [
                [*identity, f"[{r[0]}]", *value]
                for r in bad
                for value in (
                    ("id", "integer", str(r[0]).encode()),
                    ("n", "real", b"0.666"),
                    ("at", "text", b"2024-01-01"),
                    ("v", "null", None),
                )
            ],
        )
    assert case.verify("t")["rows"] == len(good)
