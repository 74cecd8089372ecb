"""The profile: every fact about the values of a column, its evidence, orphans, violations and the length of index keys."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migration.load.jsontext import fits_jsonb
from migration.profile import ColumnProfile, Evidence, TableProfile
from migration.sqlite import judging
from migration.sqlite.catalog import quoted, read_catalog
from migration.sqlite.opening import open_snapshot, open_source
from migration.sqlite.profiling import profile_table
from tests.engine.support import Raw, database, insert

LEAST, GREATEST = -(2**63), 2**63 - 1
UTF16 = pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])


def profiled(path: Path, table: str = "t") -> TableProfile:
    """The profile of a table of a file that nobody writes to."""
    connection = open_snapshot(path)
    try:
        catalog = read_catalog(connection)
        return profile_table(connection, catalog, catalog.table(table))
    finally:
        connection.close()


def column(tmp_path: Path, values: Sequence[Any], declared: str = "", encoding: str = "UTF-8") -> ColumnProfile:
    """The profile of a column ``v`` that holds these values, in rows numbered from 1."""
    path = database(tmp_path / "app.db", f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared})", encoding=encoding)
    insert(path, "t", [(n, value) for n, value in enumerate(values, 1)])
    return profiled(path).column("v")


def rows(*numbers: int) -> Evidence:
    """Evidence of rows with these ids."""
    return Evidence(len(numbers), tuple(f"[{n}]" for n in numbers[:3]))


# Storage classes and keys


def test_five_storage_classes_in_one_column_are_each_counted_and_named(tmp_path: Path) -> None:
    found = column(tmp_path, [None, 7, 1.5, "x", b"\x00\xff", None, 8, 9, 10])
    assert (found.nulls, found.integers, found.reals) == (rows(1, 6), rows(2, 7, 8, 9), rows(3))
    assert (found.texts, found.blobs, found.values) == (rows(4), rows(5), 7)
    assert found.integers == Evidence(4, ("[2]", "[7]", "[8]"))


def test_one_value_of_another_class_is_found_behind_thousands(tmp_path: Path) -> None:
    found = column(tmp_path, [*range(5000), "x", *range(5000)], "INTEGER")
    assert (found.integers.count, found.texts) == (10000, rows(5001))


def test_an_empty_table_and_a_column_of_nulls_have_no_facts(tmp_path: Path) -> None:
    path = database(tmp_path / "a.db", "CREATE TABLE t (v TEXT)")
    assert profiled(path) == TableProfile("t", 0, 0, (ColumnProfile("v"),))
    assert column(tmp_path, [None, None]) == ColumnProfile("v", nulls=rows(1, 2))


@UTF16
def test_keys_are_written_as_the_state_writes_them(tmp_path: Path, encoding: str) -> None:
    path = database(tmp_path / "a.db", "CREATE TABLE t (a, b, v, PRIMARY KEY (a, b)) WITHOUT ROWID", encoding=encoding)
    lone = Raw(b"\xff") if encoding == "UTF-8" else Raw("\ud800".encode(encoding, "surrogatepass"))
    insert(path, "t", [(1.5, b"\x01", 1), ("é😀", -3, 1), (lone, "", 2)])
    found = profiled(path).column("v")
    assert set(found.integers.keys) == {
        '[{"real":"1.5"},{"blob":"01"}]',
        '["é😀",-3]',
        f'[{{"text":"{lone.hex()}"}},""]',
    }


def test_rows_without_a_primary_key_are_named_by_rowid(tmp_path: Path) -> None:
    path = database(tmp_path / "a.db", "CREATE TABLE t (v)", "INSERT INTO t (rowid, v) VALUES (40, 'x'), (41, NULL)")
    assert profiled(path).column("v").nulls.keys == ("[41]",)


def test_rows_of_a_table_that_hides_its_rowid_are_counted_without_names(tmp_path: Path) -> None:
    path = database(tmp_path / "a.db", "CREATE TABLE t (rowid TEXT, _rowid_ TEXT, oid TEXT)")
    insert(path, "t", [("a", None, "b")])
    assert profiled(path).column("_rowid_").nulls == Evidence(1)


def test_null_in_a_primary_key_is_counted(tmp_path: Path) -> None:
    path = database(tmp_path / "a.db", "CREATE TABLE t (k TEXT PRIMARY KEY, n INT)")
    insert(path, "t", [(None, 1), ("a", 2), (None, 3)])
    assert profiled(path).column("k").nulls == rows(1, 3)


# Numbers


@pytest.mark.parametrize(
    ("values", "least", "greatest", "beyond"),
    [
        ([0], 0, 0, 0),
        ([2**31, -(2**31) - 1], -(2**31) - 1, 2**31, 0),
        ([2**53, -(2**53)], -(2**53), 2**53, 0),
        ([2**53 + 1, 2**53 + 2, -(2**53) - 1], -(2**53) - 1, 2**53 + 2, 2),
        ([LEAST, GREATEST, GREATEST - 1023, 2**62], LEAST, GREATEST, 1),
        ([GREATEST - 511, GREATEST - 512], GREATEST - 512, GREATEST - 511, 2),
    ],
)
def test_bounds_of_integers_and_those_beyond_a_double(
    tmp_path: Path, values: list[int], least: int, greatest: int, beyond: int
) -> None:
    assert beyond == sum(int(float(v)) != v for v in values)
    found = column(tmp_path, [*values, "text", 0.5, None])
    assert (found.least, found.greatest, found.beyond_double) == (least, greatest, beyond)


def test_reals_that_are_whole_and_those_that_numeric_cannot_hold(tmp_path: Path) -> None:
    values = [5.0, 0.0, -0.0, 1e300, 2.0**63, -(2.0**63), 2.0**53, 0.1, math.inf, -math.inf, 1.005]
    found = column(tmp_path, values)
    assert (found.whole_reals, found.unwritable_reals) == (4, 3)
    assert (found.least_real, found.greatest_real, found.digits) == (-math.inf, math.inf, None)


def test_a_real_column_shows_whole_numbers_as_reals(tmp_path: Path) -> None:
    found = column(tmp_path, [5, 6.0, 7.5], "REAL")
    assert (found.reals.count, found.whole_reals, found.least_real, found.digits) == (3, 2, 5.0, (1, 1))


@pytest.mark.parametrize(
    ("values", "declared", "digits"),
    [
        ([1.005, 12.5], "", (2, 3)),
        ([0.1], "", (0, 1)),
        ([0.0, -0.0], "", (0, 0)),
        ([-99.95, 3.0], "", (2, 2)),
        ([0.1 + 0.2], "", (0, 17)),
        ([1e300], "", None),
        ([1e29], "", (30, 0)),
        ([1e30], "", None),
        ([1e-30], "", (0, 30)),
        ([1.5e-30], "", None),
        ([123456789012345.6, 0.5], "", (15, 1)),
        ([1234567890123456.7], "", (16, 1)),
        ([9007199254740993.0], "", (16, 0)),
        ([5e-324], "", None),
        ([0.5, 1000000], "", (7, 1)),
        ([5, -600], "DECIMAL(10,2)", (3, 0)),
        ([LEAST], "DECIMAL(19, 0)", (19, 0)),
        ([5, -600], "INTEGER", None),
        ([0.25, "x", b"y", None], "DECIMAL(5,2)", (0, 2)),
    ],
)
def test_digits_of_shortest_decimals(
    tmp_path: Path, values: list[Any], declared: str, digits: tuple[int, int] | None
) -> None:
    assert column(tmp_path, values, declared).digits == digits


@pytest.mark.parametrize("usual", [0.25, 52.123456789012345, 1e15, 0.001])
@pytest.mark.parametrize("rare", [1.005, 0.1 + 0.2, 99999999999.95, 1.0000000000000002, 3e-9])
def test_one_number_of_more_digits_is_found_behind_thousands(tmp_path: Path, usual: float, rare: float) -> None:
    found = column(tmp_path, [*[usual] * 3000, rare])
    assert found.digits == _digits([usual, rare])


def _digits(reals: Sequence[float], integers: Sequence[int] = ()) -> tuple[int, int] | None:
    """Digits by writing every number out."""
    sides = [format(abs(Decimal(repr(v))), "f").partition(".")[::2] for v in (*reals, *integers) if math.isfinite(v)]
    before = max(len(whole.lstrip("0")) for whole, _ in sides) if sides else 0
    behind = max(len(fraction.rstrip("0")) for _, fraction in sides) if sides else 0
    return (before, behind) if max(before, behind) <= 30 and all(map(math.isfinite, reals)) else None


# Texts


@UTF16
def test_texts_are_measured_in_characters_and_in_bytes_of_utf8(tmp_path: Path, encoding: str) -> None:
    found = column(tmp_path, ["abcd", "😀é", "", "\0é\0", None, 12345678901], "", encoding)
    assert (found.longest, found.widest, found.empty, found.nul, found.invalid) == (4, 6, rows(3), rows(4), Evidence())


@UTF16
def test_a_blob_can_be_the_widest(tmp_path: Path, encoding: str) -> None:
    found = column(tmp_path, ["é", b"\xff\x00\xff"], "", encoding)
    assert (found.longest, found.widest) == (1, 3)
    assert found.invalid == Evidence()


@UTF16
def test_a_nul_is_found_at_the_start_in_the_middle_and_at_the_end(tmp_path: Path, encoding: str) -> None:
    found = column(tmp_path, ["\0a", "b\0b", "c\0", "\0", "d", b"\0", ""], "TEXT", encoding)
    assert (found.nul.count, found.longest, found.empty) == (4, 3, rows(7))


def test_characters_behind_a_nul_count(tmp_path: Path) -> None:
    assert column(tmp_path, ["a\0bcdé"], "TEXT").longest == 6


@pytest.mark.parametrize(
    "raw", [b"\xff", b"a\xc3", b"\xc3(", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xff\0"]
)
def test_text_that_is_not_utf8_is_counted(tmp_path: Path, raw: bytes) -> None:
    found = column(tmp_path, ["x", Raw(raw), "é", Raw(raw)], "TEXT")
    assert (found.invalid, found.nul, found.texts.count) == (rows(2, 4), Evidence(), 4)


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
@pytest.mark.parametrize("lone", ["\ud800", "a\udc00b", "\udc00\ud800"])
def test_half_a_surrogate_pair_is_counted(tmp_path: Path, encoding: str, lone: str) -> None:
    raw = Raw(lone.encode(encoding.lower(), "surrogatepass"))
    assert column(tmp_path, ["x😀", raw], "TEXT", encoding).invalid == rows(2)


def test_two_broken_halves_beside_each_other_do_not_make_a_valid_text(tmp_path: Path) -> None:
    path = database(tmp_path / "a.db", "CREATE TABLE t (a TEXT, b TEXT, c TEXT)")
    insert(path, "t", [(Raw(b"\xc3"), Raw(b"\xa9"), "ok")])
    found = profiled(path)
    assert [found.column(c).invalid.count for c in "abc"] == [1, 1, 0]


def test_blobs_beside_texts_are_not_taken_for_broken_text(tmp_path: Path) -> None:
    path = database(tmp_path / "a.db", "CREATE TABLE t (a, b)")
    insert(path, "t", [(b"\xff", "x"), ("y", b"\0\xff"), (1.5, 2)])
    found = profiled(path)
    assert not any(found.column(c).invalid or found.column(c).nul for c in "ab")


@UTF16
@pytest.mark.parametrize("declared", ["", "TEXT COLLATE NOCASE", "BLOB"])
def test_texts_that_are_written_as_integers_are(tmp_path: Path, declared: str, encoding: str) -> None:
    yes = ["5", "-5", "0", str(GREATEST), str(LEAST)]
    no = [
        "",
        "05",
        "-0",
        "+5",
        " 5",
        "5 ",
        "5.0",
        "5\0",
        "\x005",
        "1e3",
        "٥",
        "x",
        str(GREATEST + 1),
        str(LEAST - 1),
        "9" * 60,
    ]
    found = column(tmp_path, [*no, *yes, 5, b"5"], declared, encoding)
    integer = found.integers.count  # a column of text holds 5 as '5'
    assert found.digit_texts.count == len(yes) + (1 - integer)
    assert found.digit_texts.keys == ("[16]", "[17]", "[18]")


def test_texts_in_an_integer_column_are_judged_as_they_stand(tmp_path: Path) -> None:
    found = column(tmp_path, ["12 apples", "x", "0x10", 5, "7"], "INTEGER")
    assert (found.digit_texts, found.integers.count, found.texts.count) == (Evidence(), 2, 3)


# Times

FORMS = [
    ("2024-02-29", "YYYY-MM-DD"),
    ("2024-02-29 23:59", "YYYY-MM-DD HH24:MI"),
    ("2024-02-29T23:59", 'YYYY-MM-DD"T"HH24:MI'),
    ("2024-02-29 23:59:59", "YYYY-MM-DD HH24:MI:SS"),
    ("2024-02-29T00:00:00", 'YYYY-MM-DD"T"HH24:MI:SS'),
    ("2024-02-29T00:00:00Z", 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    ("2024-02-29 00:00:00Z", 'YYYY-MM-DD HH24:MI:SS"Z"'),
    ("2024-02-29T00:00:00.123Z", 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
    ("2024-02-29 00:00:00.123456", "YYYY-MM-DD HH24:MI:SS.US"),
    *((f"2024-02-29 00:00:00.{'123456789'[:n]}", f"YYYY-MM-DD HH24:MI:SS.F{n}") for n in (1, 2, 4, 5, 7, 8, 9)),
    ("2024-02-29 00:00:00+02:00", "YYYY-MM-DD HH24:MI:SSTZH:TZM"),
    ("2024-02-29 00:00:00-09:30", "YYYY-MM-DD HH24:MI:SSTZH:TZM"),
    ("2024-02-29 00:00:00+15:59", "YYYY-MM-DD HH24:MI:SSTZH:TZM"),
    ("2024-02-29 00:00:00.123456+0200", "YYYY-MM-DD HH24:MI:SS.USTZHTZM"),
    ("2024-02-29 00:00+02", "YYYY-MM-DD HH24:MITZH"),
    ("2024-02-29T00:00:00.123456789-02:00", 'YYYY-MM-DD"T"HH24:MI:SS.F9TZH:TZM'),
    ("0001-01-01 00:00:00", "YYYY-MM-DD HH24:MI:SS"),
    ("0001-01-01 02:00:00+02:00", "YYYY-MM-DD HH24:MI:SSTZH:TZM"),
    ("9999-12-31 23:59:59.999999", "YYYY-MM-DD HH24:MI:SS.US"),
    ("9999-12-31", "YYYY-MM-DD"),
]  # fmt: skip
NO_TIMES = [
    "", "2023-02-29", "2024-02-30", "2024-02-30 00:00:00", "2024-13-01", "2024-00-10", "2024-01-00", "0000-00-00", "0000-01-01",
    "0000-01-01 00:00:00", "2024-01-01 24:00:00", "2024-01-01 23:60:00", "2024-01-01 23:59:60", "2024-01-01  00:00:00",
    "2024-01-01 00:00:00 ", " 2024-01-01", "2024-01-01 00", "2024-01-01t00:00:00", "2024-01-01T00:00:00z", "2024-1-1",
    "2024-01-01 00:00:00.", "2024-01-01 00:00:00.1234567890", "2024-01-01 00:00:00,123", "2024-01-01 00:00:00 +02:00",
    "2024-01-01 00:00:00+2", "2024-01-01 00:00:00+02:", "2024-01-01 00:00:00+02:60", "2024-01-01 00:00:00+16:00",
    "2024-01-01Z", "2024-01-01+02:00", "20240101", "2024-01-01 00:00:00\0", "2024-01-01\0", "2024-01-01 00:00:00.12\0",
    "0001-01-01 00:00:00+02:00", "9999-12-31 23:59:59-01:00", "2024-01-01 0:00:00", "٢٠٢٤-01-01", "12:00:00", "now", "2024-01",
]  # fmt: skip


@UTF16
@pytest.mark.parametrize(("text", "form"), FORMS)
def test_a_text_of_each_form_is_a_time(tmp_path: Path, text: str, form: str, encoding: str) -> None:
    found = column(tmp_path, [text] * 3, "TIMESTAMP", encoding)
    assert (dict(found.times), found.no_times) == ({form: 3}, Evidence())


def test_near_misses_are_no_times(tmp_path: Path) -> None:
    assert [text for text in NO_TIMES if judging.time_form(text.encode(), "utf-8")] == []


@UTF16
@pytest.mark.parametrize(
    "usual",
    [
        "2024-02-28",
        "2024-02-28 23:59:59",
        "2024-02-28T12:30",
        "2024-02-28 00:00:00.12",
        "2024-02-28T23:59:59.123Z",
        "2024-02-28 00:00:00+01:00",
    ],
)
def test_near_misses_among_thousands_of_times_are_all_found(tmp_path: Path, usual: str, encoding: str) -> None:
    shape = usual[10:]
    near = NO_TIMES + [
        day + shape for day in ("2023-02-29", "2024-02-30", "2024-13-01", "0000-01-01", "2024-00-01", "2024-01-32")
    ]
    near += [usual[:-1] + "x", usual + "\0", usual[:-1] + "\0", usual + " ", " " + usual, usual + "\n"]
    found = column(tmp_path, [*[usual] * 1500, *near, None], "TIME TEXT", encoding)
    assert sum(found.times.values()) == 1500
    assert found.no_times == Evidence(len(near), ("[1501]", "[1502]", "[1503]"))


def test_each_form_of_a_mixed_column_is_counted(tmp_path: Path) -> None:
    texts = [text for n, (text, _) in enumerate(FORMS, 1) for _ in range(n)]
    wanted = Counter[str]()
    for n, (_, form) in enumerate(FORMS, 1):
        wanted[form] += n
    assert column(tmp_path, texts, "TIMESTAMP TEXT").times == wanted


def test_every_valid_day_is_one_and_no_other(tmp_path: Path) -> None:
    days = [f"{y}-{m:02}-{d:02}" for y in (1900, 2000, 2023, 2024) for m in range(14) for d in range(33)]
    found = column(tmp_path, ["2001-01-01", *days], "DATE")
    assert found.times == {"YYYY-MM-DD": 1 + 365 + 366 + 365 + 366}
    assert found.no_times.count == len(days) - 1462


def test_times_are_found_behind_thousands_of_other_texts(tmp_path: Path) -> None:
    found = column(tmp_path, [*["Alice"] * 2000, "2024-01-01", "long " * 1000], "DATETIME TEXT")
    assert (found.times, found.no_times.count) == ({"YYYY-MM-DD": 1}, 2001)


def test_a_column_declared_as_time_without_one_has_only_evidence_of_others(tmp_path: Path) -> None:
    found = column(tmp_path, ["Alice", "", 5, None], "TIMESTAMP")
    assert (found.times, found.no_times) == ({}, rows(1, 2))


def test_times_are_asked_only_of_columns_declared_so(tmp_path: Path) -> None:
    found = column(tmp_path, ["2024-01-01", "x"], "TEXT")
    assert (found.times, found.no_times) == ({}, Evidence())


def test_empty_texts_do_not_hide_times(tmp_path: Path) -> None:
    found = column(tmp_path, [*[""] * 2000, "2024-01-01"], "DATE")
    assert (found.times, found.no_times.count, found.empty.count) == ({"YYYY-MM-DD": 1}, 2000, 2000)


# JSON

JSON_FITS = ["{}", " [1, 2.50, -0] ", '"x"', "null", "1e5", '{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}', '"\\u00e9\\ud83d\\ude00"',
             "9" * 5000, "1" + "0" * 131071, "[" * 400 + "]" * 400, '"' + "[" * 600 + '"', '"\\\\u0000"', "1e131071", "1e-16383", "\t\r\n1\n"]  # fmt: skip
JSON_LOSSY = [
    ' {"a": 1, "a": 1}\n', "\t" + "[" * 501 + "]" * 501 + " ",'{"a": 1, "a": 1}', '[{"b": {"a": 1, "a": 2}}]', '"\\u0000"', '{"\\u0000": 1}', '"\\ud800"', '["\\udc00\\ud800"]',
              "1e131072", "1e-16384", "1" + "0" * 131072, "1e99999999999", "[" * 501 + "]" * 501, "[" * 2000 + "]" * 2000]  # fmt: skip
NO_JSON = ["", " ", "NaN", "[NaN]", "-Infinity", "{'a': 1}", "[1,]", "{} x", "01", "+1", ".5", "1.", "tru", '"\x01"', '"\t"', '"\\x"', '"\\u12"',
           '{"a": 1, "a": NaN}', '{"a": 1, "a": 2', "\ufeff{}", "\xa01", "[" * 600, "[" * 2000, '"a', "{1: 2}", "\x0b1"]  # fmt: skip


@UTF16
def test_json_is_invalid_or_loses_something_or_fits(tmp_path: Path, encoding: str) -> None:
    texts = [*JSON_FITS, *JSON_LOSSY, *NO_JSON]
    found = column(tmp_path, [*texts, None, b"{"], "JSON TEXT", encoding)
    first, second = len(JSON_FITS) + 1, len(JSON_FITS) + len(JSON_LOSSY) + 1
    assert (found.lossy_json, found.invalid_json) == (rows(*range(first, second)), rows(*range(second, len(texts) + 1)))


def test_broken_text_and_a_raw_nul_are_no_json(tmp_path: Path) -> None:
    assert column(tmp_path, ['"x"', Raw(b'"\xff"'), Raw(b'    "\xff"'), '"a\0"', "{}\0"], "json").invalid_json == rows(
        2, 3, 4, 5
    )


def test_json_is_asked_only_of_columns_declared_so(tmp_path: Path) -> None:
    found = column(tmp_path, ["{", '{"a":1,"a":1}'], "TEXT")
    assert (found.invalid_json, found.lossy_json) == (Evidence(), Evidence())


def test_what_is_json_is_what_postgresql_takes_and_keeps(target_dsn: str) -> None:
    """Invalid exactly where json refuses; where jsonb is said to keep the text whole, it takes it, and so does the load."""
    with psycopg.connect(target_dsn, autocommit=True) as connection:

        def takes(type_: str, text: str) -> bool:
            try:
                connection.execute(f"SELECT length((%s::text::{type_})::text)", [text])
            except psycopg.Error:
                return False
            return True

        for text in (*JSON_FITS, *JSON_LOSSY, *NO_JSON):
            kind = judging.json_kind(text.encode(), "utf-8")
            assert takes("json", text) == (kind != judging.NO_JSON), text[:50]
            assert takes("jsonb", text) or kind != judging.FITS, text[:50]
            assert fits_jsonb(text) or kind != judging.FITS, text[:50]


# Tables


def test_the_bytes_of_a_table_are_those_of_texts_and_blobs_and_eight_for_each_number(tmp_path: Path) -> None:
    path = database(tmp_path / "a.db", "CREATE TABLE t (a TEXT, b, c REAL)")
    insert(path, "t", [("éé", b"123", 1.5), ("x", 5, None), (None, None, None)])
    assert (profiled(path).rows, profiled(path).bytes) == (3, 4 + 3 + 8 + 1 + 8)


def test_names_of_any_kind(tmp_path: Path) -> None:
    names = ['a "b"', "{x}", "{0}", "select", "50%", "é;--", "", "x'y", "[z]", "profile_tally"]
    columns = ", ".join(f"{quoted(n)} JSON_TIME" for n in names)
    path = database(tmp_path / "a.db", f"CREATE TABLE {quoted('t {x}')} ({columns})")
    insert(path, "t {x}", [["2024-01-01"] * len(names), ["2024-01-01 x"] * len(names), [0.1, *[None] * 9]])
    found = profiled(path, "t {x}")
    assert [c.name for c in found.columns] == names
    for c in found.columns:
        assert (dict(c.times), c.no_times, c.invalid_json.count) == ({"YYYY-MM-DD": 1}, rows(2), 2)


def test_a_collation_that_sqlite_lacks_hinders_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    writer = apsw.Connection(str(path))
    writer.create_collation("unicase", lambda a, b: (a > b) - (a < b))
    writer.execute(
        "CREATE TABLE p (v COLLATE unicase UNIQUE);"
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v JSON_TIME COLLATE unicase REFERENCES p (v));"
        "CREATE INDEX i ON t (v); INSERT INTO p VALUES (5), ('a');"
        "INSERT INTO t (v) VALUES (5), (-9223372036854775807), (0.5), ('a'), ('2024-01-01'), (x'00'), (NULL)"
    )
    writer.close()
    found = profiled(path)
    v = found.column("v")
    assert (v.integers.count, v.reals, v.texts, v.beyond_double) == (2, rows(3), rows(4, 5), 1)
    assert (v.times, v.invalid_json.count, found.orphans) == (
        {"YYYY-MM-DD": 1},
        2,
        (Evidence(4, ("[2]", "[3]", "[5]")),),
    )
    assert found.index_bytes["i"] == 10


def test_two_thousand_columns(tmp_path: Path) -> None:
    columns = ", ".join(f"c{n}" for n in range(2000))
    path = database(
        tmp_path / "a.db",
        f"CREATE TABLE t ({columns})",
        f"INSERT INTO t VALUES ({', '.join(str(n) for n in range(2000))})",
    )
    insert(path, "t", [[str(n) for n in range(2000)], [Raw(b"\xff") if n == 1234 else 0.5 for n in range(2000)]])
    found = profiled(path)
    assert [c.least for c in found.columns] == list(range(2000))
    assert [c.name for c in found.columns if c.invalid] == ["c1234"]
    assert all(c.digit_texts == rows(2) for c in found.columns)


def test_a_long_value_is_read_and_judged(tmp_path: Path) -> None:
    size = 20 << 20
    found = column(tmp_path, ["x" * size, "é" * (size // 2) + "\0", b"\0" * (size + 1)])
    assert (found.longest, found.widest, found.nul) == (size, size + 1, rows(2))


def test_generated_columns_have_a_profile(tmp_path: Path) -> None:
    path = database(
        tmp_path / "a.db",
        "CREATE TABLE t (a INT, v AS (a * 2), s TEXT AS (a || 'x') STORED)",
        "INSERT INTO t VALUES (21)",
    )
    found = profiled(path)
    assert (found.column("v").least, found.column("s").longest) == (42, 3)


@pytest.mark.parametrize(
    ("column_", "reason", "orphans_"),
    [
        ("AS (json_extract(doc, '$.a'))", "malformed JSON", ()),
        ("AS (shout(doc)) REFERENCES p (k)", "unknown function: shout()", (None,)),
    ],
)
def test_a_generated_column_that_cannot_be_computed_says_so_and_hinders_nothing(
    tmp_path: Path, column_: str, reason: str, orphans_: tuple[None, ...]
) -> None:
    path = tmp_path / "a.db"
    writer = apsw.Connection(str(path))
    writer.create_scalar_function("shout", lambda *values: values[0], 1, deterministic=True)
    writer.execute("CREATE TABLE p (k PRIMARY KEY); CREATE TABLE c (doc); INSERT INTO c VALUES ('{}'), ('{broken')")
    writer.execute(f"ALTER TABLE c ADD COLUMN v {column_}")
    writer.close()
    found = profiled(path, "c")
    assert found.column("v") == ColumnProfile("v", unreadable=reason)
    assert (found.column("doc").texts.count, found.orphans) == (2, orphans_)


def test_a_live_database_is_read_with_its_wal_and_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    writer = apsw.Connection(str(path))
    writer.pragma("journal_mode", "wal")
    writer.execute("CREATE TABLE t (v TEXT); INSERT INTO t VALUES ('x')")
    reader = open_source(path)
    before = path.read_bytes()
    assert profile_table(reader, read_catalog(reader), read_catalog(reader).table("t")).rows == 1
    assert path.read_bytes() == before
    reader.close()
    writer.close()


# Promises of the schema


def orphans(tmp_path: Path, *statements: str) -> tuple[Evidence | None, ...]:
    """The orphans of the table c."""
    return profiled(database(tmp_path / "a.db", *statements), "c").orphans


P = "CREATE TABLE p (id INTEGER PRIMARY KEY, code TEXT UNIQUE, a, b, UNIQUE (a, b))"


def test_rows_without_their_parent_are_orphans_and_null_names_none(tmp_path: Path) -> None:
    found = orphans(
        tmp_path, P, "INSERT INTO p (id) VALUES (1), (2)", "CREATE TABLE c (id INTEGER PRIMARY KEY, p REFERENCES P (ID))",
        "INSERT INTO c VALUES (1, 1), (2, 3), (3, NULL), (4, 2.0), (5, 2.5), (6, x'31')",
    )  # fmt: skip
    assert found == (rows(2, 5, 6),)


def test_a_parent_key_with_nulls_hides_no_orphan(tmp_path: Path) -> None:
    found = orphans(
        tmp_path, P, "INSERT INTO p (code) VALUES ('a'), (NULL)", "CREATE TABLE c (v TEXT REFERENCES p (code))",
        "INSERT INTO c VALUES ('a'), ('b'), (NULL), ('A')",
    )  # fmt: skip
    assert found == (rows(2, 4),)


def test_a_composite_key_is_found_as_a_whole_and_null_in_it_names_no_parent(tmp_path: Path) -> None:
    found = orphans(
        tmp_path, P, "INSERT INTO p (a, b) VALUES (1, 'x'), (2, 'y'), (3, NULL)",
        "CREATE TABLE c (a, b, FOREIGN KEY (a, b) REFERENCES p (a, b))",
        "INSERT INTO c VALUES (1, 'x'), (1, 'y'), (3, NULL), (NULL, 'x'), (3, 'z')",
    )  # fmt: skip
    assert found == (rows(2, 5),)


def test_an_implicit_target_and_a_reference_to_itself(tmp_path: Path) -> None:
    found = orphans(
        tmp_path, "CREATE TABLE p (k TEXT PRIMARY KEY)", "INSERT INTO p VALUES ('a')",
        "CREATE TABLE c (id INTEGER PRIMARY KEY, up INT REFERENCES c, k TEXT REFERENCES p)",
        "INSERT INTO c VALUES (1, NULL, 'a'), (2, 1, 'b'), (3, 9, 'a'), (4, 4, NULL)",
    )  # fmt: skip
    assert sorted(map(str, found)) == sorted(map(str, (rows(2), rows(3))))


def test_sqlites_own_idea_of_the_same_is_not_enough(tmp_path: Path) -> None:
    """With NOCASE and an affinity SQLite finds parents that PostgreSQL does not."""
    ddl = (
        "CREATE TABLE p (code TEXT COLLATE NOCASE PRIMARY KEY, n INTEGER UNIQUE, t TEXT UNIQUE)",
        "INSERT INTO p VALUES ('A', 5, '5'), ('b', 6, '06')",
        "CREATE TABLE c (code TEXT COLLATE NOCASE REFERENCES p, n TEXT REFERENCES p (n), t INTEGER REFERENCES p (t))",
        "INSERT INTO c VALUES ('a', '5', 5), ('A', '05', 6), ('B', '5.0', NULL), ('b', '6', 7)",
    )
    database(tmp_path / "s.db", *ddl)
    checked = apsw.Connection(str(tmp_path / "s.db")).execute("PRAGMA foreign_key_check").fetchall()
    assert sorted(map(str, (row[1] for row in checked))) == ["2", "4"]  # t: 6 and 7
    assert set(orphans(tmp_path, *ddl)) == {rows(1, 3), rows(2, 3), rows(2, 4)}


def test_integers_that_share_a_double_are_different_parents(tmp_path: Path) -> None:
    found = orphans(
        tmp_path, "CREATE TABLE p (r REAL PRIMARY KEY)", f"INSERT INTO p VALUES ({2**53})", "CREATE TABLE c (r INT REFERENCES p)",
        f"INSERT INTO c VALUES ({2**53}), ({2**53 + 1})",
    )  # fmt: skip
    assert found == (rows(2),)


@pytest.mark.parametrize(
    "reference",
    ["REFERENCES nowhere (id)", "REFERENCES nowhere", "REFERENCES p (other)", "REFERENCES w (a)", "REFERENCES q"],
)
def test_a_parent_that_is_not_there_cannot_be_asked(tmp_path: Path, reference: str) -> None:
    found = orphans(
        tmp_path,
        P,
        "CREATE VIEW w AS SELECT a FROM p",
        "CREATE TABLE q (a)",
        f"CREATE TABLE c (v {reference})",
        "INSERT INTO c VALUES (1)",
    )
    assert found == (None,)


@UTF16
def test_orphans_in_any_encoding_and_with_broken_text(tmp_path: Path, encoding: str) -> None:
    path = database(
        tmp_path / "a.db",
        "CREATE TABLE p (k TEXT PRIMARY KEY)",
        "CREATE TABLE c (k TEXT REFERENCES p, n REFERENCES p)",
        encoding=encoding,
    )
    raw = Raw(b"\xff\xd8")
    insert(path, "p", [("é",), (raw,), ("7",)])
    insert(path, "c", [("é", 7), (raw, "é"), ("x", 8)])
    assert set(profiled(path, "c").orphans) == {rows(3)}


def test_violated_checks_are_counted_and_null_violates_none(tmp_path: Path) -> None:
    path = database(
        tmp_path / "a.db",
        "CREATE TABLE t (n INT CHECK (n > 0 -- positive\n), s TEXT, CHECK (length(s) < 3 OR n = 7), CHECK (t.s <> 'no'))",
    )
    writer = apsw.Connection(str(path))
    writer.execute(
        "PRAGMA ignore_check_constraints = ON; INSERT INTO t VALUES (1, 'a'), (-1, 'long'), (NULL, NULL), (0, 'no')"
    )
    writer.close()
    assert profiled(path).violations == (rows(2, 4), rows(2), rows(4))


def test_a_check_that_sqlite_cannot_evaluate_is_unknown_and_hinders_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    writer = apsw.Connection(str(path))
    for name in ("is_ean", "regexp"):
        writer.create_scalar_function(name, lambda *_: 1, deterministic=True)
    writer.execute(
        "CREATE TABLE t (a CHECK (is_ean(a)), b CHECK (b REGEXP 'x'), c CHECK (c > 0), d CHECK (json_extract(d, '$.x') > 0));"
        "PRAGMA ignore_check_constraints = ON; INSERT INTO t VALUES (1, 2, -1, '{broken')"
    )
    writer.close()
    assert profiled(path).violations == (None, None, rows(1), None)


@UTF16
def test_the_longest_key_of_an_index_is_that_of_one_row(tmp_path: Path, encoding: str) -> None:
    path = database(
        tmp_path / "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b BLOB, n INT)",
        "CREATE INDEX both ON t (a, b)", "CREATE INDEX one ON t (a, n)", "CREATE INDEX none ON t (n)",
        "CREATE INDEX expression ON t (lower(a), b)",
        encoding=encoding,
    )  # fmt: skip
    insert(path, "t", [(1, "é" * 10, None, 5), (2, "x", b"1" * 15, 6), (3, "abc", b"12", 7)])
    assert profiled(path).index_bytes == {"both": 20, "one": 20, "none": 0, "expression": 15}


# Every fact against plain Python


def _expected(values: Sequence[Any], encoding: str, declared: str) -> dict[str, Any]:
    """The facts of a column by looking at each of its values as stored, text as Raw."""
    of: dict[type, list[Any]] = {kind: [v for v in values if type(v) is kind] for kind in (int, float, bytes, Raw)}
    raws = of[Raw]
    texts = [t for t in (_decoded(raw, encoding) for raw in raws) if t is not None]
    whole = [v for v in of[float] if v.is_integer() and LEAST <= v <= GREATEST and (v or math.copysign(1, v) > 0)]
    return {
        "counts": (values.count(None), len(of[int]), len(of[float]), len(raws), len(of[bytes])),
        "bounds": (min(of[int], default=None), max(of[int], default=None)),
        "beyond": sum(int(float(v)) != v for v in of[int]),
        "whole": len(whole),
        "unwritable": sum(math.isinf(v) or (v == 0 and math.copysign(1, v) < 0) for v in of[float]),
        "reals": (min(of[float], default=None), max(of[float], default=None)),
        "digits": _digits(of[float], of[int]) if of[float] or (of[int] and "," in declared) else None,
        "empty": raws.count(b""),
        "nul": sum("\0" in t for t in texts),
        "invalid": len(raws) - len(texts),
        "sizes": (
            max((len(t) for t in texts), default=0),
            max((*(len(t.encode()) for t in texts), *map(len, of[bytes])), default=0),
        ) if len(texts) == len(raws) else None,
        "digit_texts": sum(t.lstrip("-").isdecimal() and t.isascii() and t.count("-") < 2 and str(int(t)) == t and LEAST <= int(t) <= GREATEST for t in texts),
    }  # fmt: skip


def _decoded(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return None


def _said(found: ColumnProfile) -> dict[str, Any]:
    kinds = (found.nulls, found.integers, found.reals, found.texts, found.blobs)
    return {
        "counts": tuple(e.count for e in kinds),
        "bounds": (found.least, found.greatest),
        "beyond": found.beyond_double,
        "whole": found.whole_reals,
        "unwritable": found.unwritable_reals,
        "reals": (found.least_real, found.greatest_real),
        "digits": found.digits,
        "empty": found.empty.count,
        "nul": found.nul.count,
        "invalid": found.invalid.count,
        "sizes": None if found.invalid else (found.longest, found.widest),
        "digit_texts": found.digit_texts.count,
    }


NUMBERS = st.one_of(
    st.integers(LEAST, GREATEST),
    st.floats(allow_nan=False),
    st.builds(lambda n, s: n / 10**s, st.integers(-(10**16), 10**16), st.integers(0, 20)),
    st.sampled_from([0.0, -0.0, math.inf, 2.0**63, -(2.0**63), 2**53 + 1]),
)
TEXTS = st.one_of(
    st.text(max_size=30),
    st.integers(-(2**66), 2**66).map(str),
    st.sampled_from(["", "\0", "05", "-0", "😀", "2024-01-01"]),
)
VALUES = st.one_of(
    st.none(),
    NUMBERS,
    TEXTS,
    st.binary(max_size=6),
    st.binary(min_size=2, max_size=6).map(lambda b: Raw(b[: len(b) // 2 * 2])),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.one_of(
        st.lists(VALUES, min_size=1, max_size=8),
        st.lists(NUMBERS, min_size=1, max_size=6),
        st.lists(TEXTS, min_size=1, max_size=6),
    ),
    encoding=st.sampled_from(["UTF-8", "UTF-16le", "UTF-16be"]),
    declared=st.sampled_from(["", "TEXT COLLATE NOCASE", "INTEGER", "REAL", "DECIMAL(10, 2)"]),
)
def test_every_fact_is_what_python_finds_value_by_value(values: list[Any], encoding: str, declared: str) -> None:
    connection = apsw.Connection(":memory:")
    connection.execute(f"PRAGMA encoding = '{encoding}'; CREATE TABLE t (a, v {declared})")
    for value in values:
        mark = "CAST(? AS TEXT)" if isinstance(value, Raw) else "?"
        connection.execute(f"INSERT INTO t VALUES ('é', {mark})", [bytes(value) if isinstance(value, Raw) else value])
    catalog = read_catalog(connection)
    found = profile_table(connection, catalog, catalog.table("t")).column("v")
    stored = connection.execute("SELECT typeof(v), CASE typeof(v) WHEN 'text' THEN CAST(v AS BLOB) ELSE v END FROM t")
    plain = [Raw(value) if kind == "text" else value for kind, value in stored.fetchall()]  # type: ignore[arg-type]
    assert _said(found) == _expected(plain, encoding.lower(), declared)


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    text=st.one_of(
        DOCUMENTS.map(json.dumps),
        st.text(alphabet='{}[]":,\\ue1a0 ', max_size=12),
        st.lists(st.sampled_from(["{", "}", '"a"', ":", ",", "1", "[", "]", " "]), max_size=9).map("".join),
    )
)
def test_json_fits_exactly_where_the_load_finds_that_it_does(text: str) -> None:
    assert (judging.json_kind(text.encode("utf-8", "replace"), "utf-8") == judging.FITS) == fits_jsonb(text)
