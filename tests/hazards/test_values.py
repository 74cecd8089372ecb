"""The values: whatever SQLite stores arrives as it is, or is set aside by name with its bytes."""

from __future__ import annotations

import math
import struct
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from migration.assess import assess
from migration.errors import RejectedRows
from tests.engine.support import Raw, database, insert
from tests.hazards.moving import changed, move, rules


def one_column(tmp_path: Path, declared: str, values: list[Any], **options: Any) -> Path:
    """A table t of an id and a column v with these values."""
    source = database(tmp_path / "app.db", f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared})", **options)
    insert(source, "t", list(enumerate(values, 1)))
    return source


def test_reals_keep_every_bit_with_infinities_and_the_sign_of_zero(tmp_path: Path, target_dsn: str) -> None:
    values = [
        0.1,
        1 / 3,
        5e-324,
        1.7976931348623157e308,
        math.inf,
        -math.inf,
        -0.0,
        0.30000000000000004,
        9007199254740993.0,
    ]
    moved = move(one_column(tmp_path, "", values), target_dsn)
    assert moved.types("t")["v"] == "double precision"
    assert [struct.pack(">d", v) for v in moved.values("t", "v", "id")] == [struct.pack(">d", v) for v in values]


def test_nan_which_sqlite_stores_as_null_is_null(tmp_path: Path, target_dsn: str) -> None:
    assert move(one_column(tmp_path, "REAL", [math.nan, 1.5]), target_dsn).values("t", "v", "id") == [None, 1.5]


def test_blobs_arrive_byte_for_byte(tmp_path: Path, target_dsn: str) -> None:
    values = [b"", b"\0\xff\xfe", bytes(range(256)) * 5, b"plain text", b"YmFzZTY0"]
    moved = move(one_column(tmp_path, "BLOB", values), target_dsn)
    assert moved.types("t")["v"] == "bytea"
    assert moved.values("t", "v", "id") == values


def test_text_in_a_blob_column_keeps_its_bytes_and_is_known(tmp_path: Path, target_dsn: str) -> None:
    source = one_column(tmp_path, "BLOB", [b"\x01\x02", "aGVsbG8=", b"b"])
    moved = move(source, target_dsn)
    assert moved.values("t", "v", "id") == [b"\x01\x02", b"aGVsbG8=", b"b"]
    assert moved.kept() == [("t", "[2]", "v", "bytes", "text", b"aGVsbG8=")]
    assert rules(moved.assessment) == {"type-mixed-blobs"}


def test_blobs_in_a_text_column_keep_their_bytes_and_are_known(tmp_path: Path, target_dsn: str) -> None:
    moved = move(one_column(tmp_path, "TEXT", ["text", b"valid utf-8", b"\xff"]), target_dsn)
    assert moved.types("t")["v"] == "bytea"
    assert moved.values("t", "v", "id") == [b"text", b"valid utf-8", b"\xff"]
    assert moved.kept() == [("t", "[1]", "v", "bytes", "text", b"text")]


NUL = [Raw(b"a\0b"), "fine", "fine", Raw(b"\0"), "fine"]


def test_text_with_nul_is_set_aside_with_its_bytes(tmp_path: Path, target_dsn: str) -> None:
    moved = move(one_column(tmp_path, "TEXT", NUL), target_dsn)
    assert moved.rows("t") == [(2, "fine"), (3, "fine"), (5, "fine")]
    assert moved.quarantine() == [("t", "[1]", "v", "inexact"), ("t", "[4]", "v", "inexact")]
    assert rules(moved.assessment) == {"value-nul"}


def test_text_with_nul_can_be_stripped_or_kept_as_bytes_by_declaration(tmp_path: Path, target_dsn: str) -> None:
    source = one_column(tmp_path, "TEXT", NUL)
    plan = assess(source, tmp_path / "home").plan
    stripped = move(source, target_dsn, plan=changed(plan, "t", "v", invalid="strip"))
    assert stripped.values("t", "v", "id") == ["ab", "fine", "fine", "", "fine"]
    assert [k[3:] for k in stripped.kept()] == [("strip", "text", b"a\0b"), ("strip", "text", b"\0")]


def test_text_with_nul_can_be_carried_as_bytes_by_declaration(tmp_path: Path, target_dsn: str) -> None:
    source = one_column(tmp_path, "TEXT", NUL)
    plan = assess(source, tmp_path / "home").plan
    moved = move(source, target_dsn, plan=changed(plan, "t", "v", type="bytea", invalid="bytes"))
    assert moved.values("t", "v", "id") == [b"a\0b", b"fine", b"fine", b"\0", b"fine"]


def test_text_that_is_no_valid_utf8_is_set_aside_with_its_bytes(tmp_path: Path, target_dsn: str) -> None:
    moved = move(one_column(tmp_path, "TEXT", [Raw(b"\xff\xfe"), "x", Raw(b"caf\xe9"), "y", "z"]), target_dsn)
    assert moved.values("t", "v", "id") == ["x", "y", "z"]
    assert [row[:2] for row in moved.quarantine()] == [("t", "[1]"), ("t", "[3]")]
    assert rules(moved.assessment) == {"value-encoding"}


@pytest.mark.parametrize(
    ("values", "kind", "there"),
    [
        ([0, 1, None], "boolean", [False, True, None]),
        ([0, 1, 2], "bigint", [0, 1, 2]),
        ([0, 1, -1], "bigint", [0, 1, -1]),
        (["t", "f"], "text", ["t", "f"]),
        (["true", "no"], "text", ["true", "no"]),
        ([1, "yes"], "text", ["1", "yes"]),
        ([0.5, 1], "double precision", [0.5, 1.0]),
        ([], "boolean", []),
    ],
)
def test_a_boolean_column_is_boolean_only_if_every_value_is(
    values: list[Any], kind: str, there: list[Any], tmp_path: Path, target_dsn: str
) -> None:
    moved = move(one_column(tmp_path, "BOOLEAN", values), target_dsn)
    assert (moved.types("t")["v"], moved.values("t", "v", "id")) == (kind, there)


@pytest.mark.parametrize(
    ("declared", "values", "kind", "there"),
    [
        ("INTEGER", [1, "n/a", ""], "text", ["1", "n/a", ""]),
        ("INTEGER", [1, 2.5], "double precision", [1.0, 2.5]),
        ("INTEGER", [2**60 + 1, 2.5], "text", [str(2**60 + 1), "2.5"]),
        ("REAL", [1.5, "n/a"], "text", ["1.5", "n/a"]),
        ("TEXT", ["5", "05", "1e3", "-0"], "text", ["5", "05", "1e3", "-0"]),
        ("", [1, "x", 2**63 - 1], "text", ["1", "x", str(2**63 - 1)]),
        ("", [1, 2], "bigint", [1, 2]),
        ("", ["a"], "text", ["a"]),
        ("", [None, None], "text", [None, None]),
        ("ANY", [1, 1.25, "x", b"\xff"], "bytea", [b"1", b"1.25", b"x", b"\xff"]),
        ("NUMERIC", [1, 2.5, 10**15], "double precision", [1.0, 2.5, 1e15]),
    ],
)
def test_mixed_columns_get_the_type_that_holds_every_value(
    declared: str, values: list[Any], kind: str, there: list[Any], tmp_path: Path, target_dsn: str
) -> None:
    moved = move(one_column(tmp_path, declared, values), target_dsn)
    assert (moved.types("t")["v"], moved.values("t", "v", "id")) == (kind, there)


@pytest.mark.parametrize(
    ("declared", "values", "kind"),
    [
        ("INT", [2**31, -(2**63), 2**63 - 1], "bigint"),
        ("TINYINT", [300, 70000], "bigint"),
        ("SMALLINT", [32768], "bigint"),
        ("SMALLINT", [32767, -32768], "smallint"),
        ("UNSIGNED BIG INT", [2**62], "bigint"),
        ("INTEGER", [1], "bigint"),
    ],
)
def test_integers_of_any_size_are_exact(
    declared: str, values: list[int], kind: str, tmp_path: Path, target_dsn: str
) -> None:
    moved = move(one_column(tmp_path, declared, values), target_dsn)
    assert (moved.types("t")["v"], moved.values("t", "v", "id")) == (kind, values)


@pytest.mark.parametrize(
    ("declared", "values", "kind"),
    [
        ("DECIMAL(10,2)", [1.25, 3, 99999999.99, -0.5], "numeric(10,2)"),
        ("DECIMAL(10,2)", [1.25, 1.005], "double precision"),
        ("DECIMAL(10,2)", [1e300], "double precision"),
        ("DECIMAL(10,2)", [123456789.5], "double precision"),
        ("NUMERIC(4)", [1234, 9], "numeric(4,0)"),
        ("MONEY", [1.1, 2], "double precision"),
        ("DECIMAL(30,10)", [1.5], "double precision"),
    ],
)
def test_a_declared_scale_is_kept_only_if_nothing_is_rounded(
    declared: str, values: list[float], kind: str, tmp_path: Path, target_dsn: str
) -> None:
    moved = move(one_column(tmp_path, declared, values), target_dsn)
    assert moved.types("t")["v"] == kind
    assert [float(v) for v in moved.values("t", "v", "id")] == values


def test_a_declared_length_is_kept_only_if_every_value_fits_in_characters(tmp_path: Path, target_dsn: str) -> None:
    source = database(
        tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, a VARCHAR(5), b VARCHAR(5), c CHAR(3))"
    )
    insert(source, "t", [(1, "ä€😀äö", "x" * 200, "ab"), (2, "", "", "abc")])
    moved = move(source, target_dsn)
    assert moved.types("t") == {"id": "bigint", "a": "character varying(5)", "b": "text", "c": "character varying(3)"}
    assert moved.rows("t") == [(1, "ä€😀äö", "x" * 200, "ab"), (2, "", "", "abc")]


MOMENT = datetime(2024, 2, 29, 13, 14, 15, tzinfo=UTC)
SECONDS = int(MOMENT.timestamp())
APPLE = SECONDS - 978307200


@pytest.mark.parametrize(
    ("declared", "values", "there"),
    [
        ("DATETIME", ["2024-02-29 13:14:15"], [MOMENT]),
        ("DATETIME", ["2024-02-29T13:14:15"], [MOMENT]),
        ("TIMESTAMP", ["2024-02-29 13:14:15.123456", "2024-02-29 13:14:15"], [MOMENT.replace(microsecond=123456), MOMENT]),
        ("TIMESTAMP", ["2024-02-29T13:14:15.5Z"], [MOMENT.replace(microsecond=500000)]),
        ("TIMESTAMP", ["2024-02-29T15:14:15+02:00"], [MOMENT]),
        ("TIMESTAMP", ["2024-02-29 08:14:15-0500"], [MOMENT]),
        ("DATETIME", ["2024-02-29 13:14"], [MOMENT.replace(second=0)]),
        ("DATE", ["2024-02-29"], [date(2024, 2, 29)]),
        ("DATE", ["2024-02-29 13:14:15"], [MOMENT]),
        ("DATETIME", [SECONDS], [MOMENT]),
        ("DATETIME", [SECONDS * 1000 + 5], [MOMENT + timedelta(milliseconds=5)]),
        ("DATETIME", [SECONDS * 10**6 + 7], [MOMENT + timedelta(microseconds=7)]),
        ("DATETIME", [SECONDS * 10**9], [MOMENT]),
        ("DATETIME", [SECONDS + 0.25], [MOMENT + timedelta(milliseconds=250)]),
        ("DATETIME", [(SECONDS + 11644473600) * 10**6 + 9], [MOMENT + timedelta(microseconds=9)]),
        ("DATETIME", [2460370.25, 2460370], [datetime(2024, 2, 29, 18, tzinfo=UTC), datetime(2024, 2, 29, 12, tzinfo=UTC)]),
    ],
)  # fmt: skip
def test_every_form_of_a_time_keeps_the_instant(
    declared: str, values: list[Any], there: list[Any], tmp_path: Path, target_dsn: str
) -> None:
    moved = move(one_column(tmp_path, declared, values), target_dsn)
    assert moved.types("t")["v"] == (
        "date" if isinstance(there[0], date) and not isinstance(there[0], datetime) else "timestamp with time zone"
    )
    assert moved.values("t", "v", "id") == there


def test_times_of_core_data_count_from_2001(tmp_path: Path, target_dsn: str) -> None:
    source = database(tmp_path / "app.db", "CREATE TABLE Z_PRIMARYKEY (Z_ENT INTEGER PRIMARY KEY, Z_NAME VARCHAR)",
                      "CREATE TABLE ZNOTE (Z_PK INTEGER PRIMARY KEY, ZCREATIONDATE TIMESTAMP)")  # fmt: skip
    insert(source, "ZNOTE", [(1, APPLE), (2, APPLE + 0.5)])
    assert move(source, target_dsn).values("ZNOTE", "ZCREATIONDATE", '"Z_PK"') == [
        MOMENT,
        MOMENT + timedelta(milliseconds=500),
    ]


@pytest.mark.parametrize(
    "value",
    ["", "0000-00-00 00:00:00", "2023-02-30 10:00:00", "2024-02-29 24:00:00", "soon", "2024-02-29 10:00:00.123456789"],
)
def test_what_is_no_instant_stays_as_it_is_and_is_named(value: str, tmp_path: Path, target_dsn: str) -> None:
    values = ["2024-02-29 13:14:15", value]
    moved = move(one_column(tmp_path, "DATETIME", values), target_dsn)
    assert (moved.types("t")["v"], moved.values("t", "v", "id")) == ("text", values)
    assert "time-" in str([f for f in moved.assessment.files["json"].read_text().split('"') if f.startswith("time-")])


def test_what_is_no_instant_can_be_set_aside_or_nulled_by_declaration(tmp_path: Path, target_dsn: str) -> None:
    source = one_column(tmp_path, "DATETIME", ["2024-02-29 13:14:15", "0000-00-00"])
    plan = assess(source, tmp_path / "home").plan
    with pytest.raises(RejectedRows, match=r"column v, key \[2\], value '0000-00-00'"):
        move(source, target_dsn, plan=changed(plan, "t", "v", type="timestamptz"))
    nulled = move(
        source, target_dsn, plan=changed(plan, "t", "v", type="timestamptz", invalid="null"), on_live_tables="retire"
    )
    assert nulled.values("t", "v", "id") == [MOMENT, None]
    assert nulled.kept() == [("t", "[2]", "v", "null", "text", b"0000-00-00")]


def test_an_integer_that_only_looks_like_a_time_stays_a_number(tmp_path: Path, target_dsn: str) -> None:
    moved = move(one_column(tmp_path, "DATETIME", [0, SECONDS]), target_dsn)
    assert (moved.types("t")["v"], moved.values("t", "v", "id")) == ("bigint", [0, SECONDS])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (['{"a": [1, 2.50, null]}', "[]", '"x"', "true"], "jsonb"),
        (['{"a": 1, "a": 2}'], "json"),
        (['"\\u0000"'], "json"),
        (["[1e400000]"], "json"),
        (["{}", ""], "text"),
        (["NaN"], "text"),
        (["{'a': 1}"], "text"),
    ],
)
def test_json_is_jsonb_only_where_nothing_of_it_is_lost(
    values: list[str], kind: str, tmp_path: Path, target_dsn: str
) -> None:
    moved = move(one_column(tmp_path, "JSON", values), target_dsn)
    assert moved.types("t")["v"] == kind
    if kind != "jsonb":
        assert [row[0] for row in moved.rows("t", "v::text", "id")] == values


def test_empty_texts_nulls_and_the_characters_of_copy_are_exact(tmp_path: Path, target_dsn: str) -> None:
    values = [
        "",
        None,
        r"\N",
        "\\N\n",
        "a\tb",
        "line\nline\r\n",
        r"\.",
        "  spaces  ",
        "\x03",
        "\x1e\x03",
        "\x1f\x02",
        "NULL",
        "'",
        '"',
        "\\",
        "%s",
        "\u2028",
    ]
    assert move(one_column(tmp_path, "TEXT", values), target_dsn).values("t", "v", "id") == values


def test_a_table_without_rows_is_carried_and_proved(tmp_path: Path, target_dsn: str) -> None:
    moved = move(one_column(tmp_path, "TEXT", []), target_dsn)
    assert (moved.rows("t"), moved.types("t")) == ([], {"id": "bigint", "v": "text"})


def test_values_of_many_megabytes_arrive(tmp_path: Path, target_dsn: str) -> None:
    source = database(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, b BLOB)")
    insert(source, "t", [(1, "é" * (10 << 20), bytes(range(256)) * (80 << 10)), (2, "x", b"")])
    moved = move(source, target_dsn)
    assert moved.rows("t", "octet_length(v), octet_length(b), md5(v)")[1][:2] == (20 << 20, 20 << 20)


def test_a_table_of_more_columns_than_postgresql_has_is_refused_by_name_and_the_rest_is_carried(
    tmp_path: Path, target_dsn: str
) -> None:
    wide = ", ".join(f"c{n} INTEGER" for n in range(1999))
    source = database(
        tmp_path / "app.db",
        f"CREATE TABLE wide ({wide})",
        "INSERT INTO wide (c0) VALUES (1)",
        "CREATE TABLE t (id INTEGER PRIMARY KEY)",
    )
    moved = move(source, target_dsn)
    assert moved.assessment.grade == "C"
    assert moved.plan.exclude_tables == ("wide",)
    assert "1999 columns" in str(moved.refused("table"))


def test_a_table_of_1500_columns_is_carried(tmp_path: Path, target_dsn: str) -> None:
    wide = ", ".join(f"c{n} SMALLINT" for n in range(1500))
    source = database(tmp_path / "app.db", f"CREATE TABLE wide ({wide})", "INSERT INTO wide (c0, c1499) VALUES (1, 2)")
    assert move(source, target_dsn).rows("wide", "c0, c1499") == [(1, 2)]
