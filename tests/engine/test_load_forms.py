"""Values in the form that the plan declares: what crosses in their place, what is kept of them, and the proof of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql as pg

from migration.errors import MigrationError, RejectedRows
from migration.job import Job
from migration.load.table import load_table
from migration.postgres.schema import finish_schema
from migration.verify import verify_table
from tests.engine.support import RUN, Raw, altered, begin, database, insert, job_for, models, plan_for, staged

TEXT, SHORT, BYTES, TIMES = sa.Text(), sa.String(5), sa.LargeBinary(), sa.DateTime(timezone=True)


def loaded(
    folder: Path,
    dsn: str,
    kind: Any,
    form: str,
    values: list[Any],
    *,
    encoding: str = "UTF-8",
    cast: str | None = None,
    run_id: str = RUN,
) -> Job:
    """Table t of an id from 1 and a column v of the type, loaded under the declared form."""
    source = database(folder / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v)", encoding=encoding)
    insert(source, "t", list(enumerate(values, 1)))
    metadata = models(("t", [sa.Column("id", sa.Integer, primary_key=True), sa.Column("v", kind)]))
    plan = plan_for(metadata, {"t": {"columns": {"v": {"invalid": form, "cast": cast}}}})
    job = begin(job_for(source, dsn, plan, run_id))
    load_table(job, "t")
    return job


def proved(job: Job) -> dict[str, Any]:
    """The figures of a verification of t, which passes."""
    finish_schema(job)
    return verify_table(job, "t")


def kept(job: Job) -> list[tuple[str, str, bytes | None]]:
    """Form, storage class and bytes of each altered value, in the order of the rows."""
    return [found for _, found in sorted(altered(job, "t").items(), key=lambda item: int(item[0][0].strip("[]")))]


@pytest.mark.parametrize(
    ("form", "kind", "values", "expected"),
    [
        ("strip", TEXT, ["a\0b", "\0", "é\0\0\n"], ["ab", "", "é\n"]),
        ("strip", SHORT, ["\0abcde", "abcde\0\0"], ["abcde", "abcde"]),
        ("strip", pg.JSONB(), ['{"a":\0 1}'], ['{"a": 1}']),
        ("strip", pg.JSON(), ['{"a":\0 1}'], ['{"a": 1}']),
        ("strip", TIMES, ["2024-02-29 10:11:12\0"], ["2024-02-29 10:11:12+00"]),
        ("strip", sa.Date(), ["2024-02-29\0\0"], ["2024-02-29"]),
        (
            "text", TEXT,
            [5, -(2**63), 1.5, 1e300, math.inf, -math.inf, -0.0, 0.1 + 0.2, 5e-324, 5.0],
            ["5", "-9223372036854775808", "1.5", "1e+300", "inf", "-inf", "-0.0", "0.30000000000000004", "5e-324", "5.0"],
        ),
        ("text", SHORT, [99999, -1.25], ["99999", "-1.25"]),
        (
            "bytes", BYTES,
            ["a\0b", "", "é👩", 5, 1.5, -0.0, Raw(b"a\xff"), math.inf],
            ["\\x610062", "\\x", "\\xc3a9f09f91a9", "\\x35", "\\x312e35", "\\x2d302e30", "\\x61ff", "\\x696e66"],
        ),
    ],
)  # fmt: skip
def test_a_value_crosses_in_the_declared_form_and_its_original_is_kept(
    form: str, kind: Any, values: list[Any], expected: list[str], tmp_path: Path, target_dsn: str
) -> None:
    job = loaded(tmp_path, target_dsn, kind, form, values)
    assert [text for _, text in staged(job, "t", "id, v::text")] == expected
    assert kept(job) == [(form, *stored(value)) for value in values]
    assert proved(job)["rows"] == len(values)


def stored(value: Any) -> tuple[str, bytes]:
    match value:
        case Raw():
            return "text", bytes(value)
        case str():
            return "text", value.encode()
    return "integer" if isinstance(value, int) else "real", repr(value).encode()


@pytest.mark.parametrize(
    ("form", "kind", "value"),
    [
        ("strip", TEXT, 5), ("strip", TEXT, b"a\0"), ("strip", TEXT, Raw(b"a\0\xff")), ("strip", SHORT, "abcdef\0"),
        ("strip", SHORT, "abcdef"), ("strip", pg.JSONB(), "{\0"), ("strip", TIMES, "2024-02-30\0"), ("strip", BYTES, "a\0"),
        ("strip", sa.Integer(), "5\0"),
        ("text", TEXT, b"blob"), ("text", TEXT, "a\0"), ("text", TEXT, Raw(b"\xff")), ("text", SHORT, 123456),
        ("text", SHORT, 1.2345), ("text", sa.Integer(), 1.5), ("text", pg.JSON(), 5), ("text", pg.JSONB(), 5),
        ("text", TIMES, 5), ("text", BYTES, 5),
        ("bytes", TEXT, 5), ("bytes", TEXT, b"a"), ("bytes", SHORT, "abcdef"), ("bytes", sa.Integer(), "5"),
        ("round", TEXT, 5), ("round", TEXT, "a\0"),
    ],
)  # fmt: skip
def test_a_form_that_is_not_for_a_value_stops_the_load_and_names_it(
    form: str, kind: Any, value: Any, tmp_path: Path, target_dsn: str
) -> None:
    message = rf"table t, column v, key \[1\], value .*\(policy {form} does not apply\)"
    with pytest.raises(RejectedRows, match=message):
        loaded(tmp_path, target_dsn, kind, form, [value])


def test_only_what_cannot_cross_takes_the_declared_form(tmp_path: Path, target_dsn: str) -> None:
    job = loaded(tmp_path, target_dsn, TEXT, "text", ["as it is", 5, None, "1.50", 1.5])
    assert [v for _, v in staged(job, "t")] == ["as it is", "5", None, "1.50", "1.5"]
    assert set(altered(job, "t")) == {("[2]", "v"), ("[5]", "v")}
    proved(job)


def test_a_form_joins_the_cast_of_integers_and_text(tmp_path: Path, target_dsn: str) -> None:
    job = loaded(tmp_path, target_dsn, TEXT, "text", ["a", 5, 1.5], cast="integer_or_text")
    assert [v for _, v in staged(job, "t")] == ["a", "5", "1.5"]
    assert set(altered(job, "t")) == {("[3]", "v")}
    proved(job)


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_in_a_utf16_database_text_becomes_the_bytes_of_its_utf8(encoding: str, tmp_path: Path, target_dsn: str) -> None:
    broken = "x\ud83d".encode(encoding, "surrogatepass")
    values = ["é👩", Raw("a\0".encode(encoding)), 5, b"\xff", Raw(broken)]
    job = loaded(tmp_path, target_dsn, BYTES, "bytes", values, encoding=encoding)
    assert [v for _, v in staged(job, "t")] == ["é👩".encode(), b"a\0", b"5", b"\xff", broken]
    assert kept(job)[0] == ("bytes", "text", "é👩".encode(encoding))
    proved(job)


def test_in_a_utf16_database_text_loses_its_nuls_and_integers_are_text(tmp_path: Path, target_dsn: str) -> None:
    values = [Raw("é\0👩".encode("UTF-16le")), 5, "👩", "a"]
    job = loaded(tmp_path, target_dsn, TEXT, "strip", values, encoding="UTF-16le", cast="integer_or_text")
    assert [v for _, v in staged(job, "t")] == ["é👩", "5", "👩", "a"]
    assert kept(job) == [("strip", "text", "é\0👩".encode("UTF-16le"))]
    proved(job)


INTEGERS, REALS = st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False)
VALUES = st.lists(
    st.one_of(
        st.none(),
        INTEGERS,
        REALS,
        st.text(st.characters(codec="utf-8"), max_size=6),
        st.text("a\0", max_size=4),
        st.binary(max_size=4).map(Raw),
    ),
    max_size=20,
)
number = iter(range(1000))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES)
def test_any_value_that_is_no_blob_crosses_as_bytes_and_is_proved(
    tmp_path: Path, target_dsn: str, values: list[Any]
) -> None:
    folder = tmp_path / str(next(number))
    folder.mkdir()
    job = loaded(folder, target_dsn, BYTES, "bytes", values, run_id=f"run {folder.name}")
    written = [None if v is None else stored(v)[1] for v in values]
    assert [v for _, v in staged(job, "t", "id, v")] == written
    assert kept(job) == [("bytes", *stored(v)) for v in values if v is not None]
    proved(job)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.none() | INTEGERS | REALS | st.text(st.characters(codec="utf-8", exclude_characters="\0")), max_size=20)
)
def test_any_numbers_among_text_cross_as_their_text_and_are_proved(
    tmp_path: Path, target_dsn: str, values: list[Any]
) -> None:
    folder = tmp_path / str(next(number))
    folder.mkdir()
    job = loaded(folder, target_dsn, TEXT, "text", values, cast="integer_or_text", run_id=f"run {folder.name}")
    written = [v if isinstance(v, str | None) else repr(v) for v in values]
    assert [v for _, v in staged(job, "t")] == written
    assert kept(job) == [("text", "real", repr(v).encode()) for v in values if isinstance(v, float)]
    proved(job)


def by_key(
    folder: Path, dsn: str, keys: list[Any], declared: str = "", *, key: bool = True, encoding: str = "UTF-8"
) -> Job:
    """A table without rowid, named by a column of integers and text; the value of every second row is no text."""
    create = f"CREATE TABLE t (k {declared}, v, PRIMARY KEY (k)) WITHOUT ROWID"
    source = database(folder / "app.db", create, encoding=encoding)
    insert(source, "t", [(k, Raw(b"\x00\xd8") if n % 2 else f"row {n}") for n, k in enumerate(keys)])
    metadata = models(("t", [sa.Column("k", TEXT, primary_key=key), sa.Column("v", TEXT)]))
    columns = {"k": {"cast": "integer_or_text"}, "v": {"invalid": "null"}}
    job = begin(job_for(source, dsn, plan_for(metadata, {"t": {"columns": columns}})))
    load_table(job, "t")
    return job


@pytest.mark.parametrize("declared", ["", "INTEGER_OR_TEXT", "TEXT COLLATE NOCASE"])
@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le"])
def test_rows_are_found_by_a_key_of_integers_and_text(
    declared: str, encoding: str, tmp_path: Path, target_dsn: str
) -> None:
    keys: list[Any] = [5, 6, "x", "👩y", 2**62, -7, "", "EPSG", "é", 10]
    job = by_key(tmp_path, target_dsn, keys, declared, encoding=encoding)
    expected = {str(k): None if n % 2 else f"row {n}" for n, k in enumerate(keys)}
    assert dict(staged(job, "t")) == expected
    as_text = "TEXT" in declared and "OR" not in declared
    names = ['["6"]', '["10"]', '["-7"]'] if as_text else ["[6]", "[10]", "[-7]"]
    assert {key for key, _ in altered(job, "t")} == {*names, '["👩y"]', '["EPSG"]'}
    proved(job)


@pytest.mark.parametrize("keys", [[5, "5"], ["5", 5], [1, 5, 2, "5"], [5, 1, "5", 2]])
def test_the_integer_and_the_text_of_one_key_are_two_rows(keys: list[Any], tmp_path: Path, target_dsn: str) -> None:
    job = by_key(tmp_path, target_dsn, keys, key=False)
    expected = [(str(k), None if n % 2 else f"row {n}") for n, k in enumerate(keys)]
    assert sorted(staged(job, "t"), key=repr) == sorted(expected, key=repr)
    proved(job)


def test_the_integer_and_the_text_of_one_key_break_the_targets_key_by_name(tmp_path: Path, target_dsn: str) -> None:
    job = by_key(tmp_path, target_dsn, [5, 1, "5", 2])
    with pytest.raises(MigrationError, match=r"Key \(k\)=\(5\) is duplicated"):
        finish_schema(job)
