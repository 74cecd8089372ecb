"""What a column becomes, by its declaration and the facts of all its values."""

from __future__ import annotations

from typing import Any

import pytest

from migration.catalog import Column
from migration.derive.types import Choice, Place, choose
from migration.plan import Invalid
from migration.profile import ColumnProfile, Evidence

NOW = 1_700_000_000
E = Evidence


def chosen(declared: str, *, unique: bool = False, keyed: bool = False, apple: bool = False, **facts: Any) -> Choice:
    column = Column("v", declared, False, None, 0)
    counts: dict[str, Any] = {k: E(v) if k in EVIDENCE else v for k, v in facts.items()}
    return choose(Place("t", column, ColumnProfile("v", **counts), unique, keyed or unique, apple))


EVIDENCE = (
    "nulls",
    "integers",
    "reals",
    "texts",
    "blobs",
    "empty",
    "nul",
    "invalid",
    "digit_texts",
    "no_times",
    "invalid_json",
    "lossy_json",
)


def ints(least: int, greatest: int) -> dict[str, Any]:
    return {"integers": 9, "least": least, "greatest": greatest}


def reals(least: float, greatest: float, digits: tuple[int, int] | None) -> dict[str, Any]:
    return {"reals": 9, "least_real": least, "greatest_real": greatest, "digits": digits}


SECOND = "YYYY-MM-DD HH24:MI:SS"
MICRO = "YYYY-MM-DD HH24:MI:SS.US"


@pytest.mark.parametrize(
    ("declared", "facts", "type_", "cast", "form"),
    [
        # integers
        ("INTEGER", ints(1, 5), "bigint", None, ""),
        ("SMALLINT", ints(-(2**15), 2**15 - 1), "smallint", None, ""),
        ("SMALLINT", ints(0, 2**15), "bigint", None, ""),
        ("MEDIUMINT", ints(0, 2**31 - 1), "integer", None, ""),
        ("MEDIUMINT", ints(0, 2**31), "bigint", None, ""),
        ("NUMERIC", ints(1, 5), "double precision", None, ""),
        ("NUMERIC", ints(1, 5) | {"keyed": True}, "bigint", None, ""),
        ("NUMERIC", ints(1, 2**60) | {"beyond_double": 1}, "bigint", None, ""),
        ("BOOLEAN", ints(0, 1), "boolean", None, ""),
        ("BOOLEAN", ints(0, 2), "bigint", None, ""),
        ("BOOLEAN", ints(-1, 1), "bigint", None, ""),
        # reals
        ("REAL", reals(0.5, 9.5, (1, 1)), "double precision", None, ""),
        ("INTEGER", ints(1, 5) | reals(0.5, 9.5, (1, 1)), "double precision", None, ""),
        (
            "NUMERIC",
            ints(1, 2**60) | reals(0.5, 9.5, (1, 1)) | {"beyond_double": 1},
            "text",
            "integer_or_text",
            "mixed",
        ),
        ("DECIMAL(6,2)", ints(1, 5) | reals(0.5, 9999.25, (4, 2)), "numeric(6,2)", None, ""),
        ("DECIMAL(6,2)", reals(0.5, 10000.25, (5, 2)), "double precision", None, ""),
        ("DECIMAL(6,2)", reals(0.5, 1.125, (1, 3)), "double precision", None, ""),
        ("DECIMAL(6,2)", reals(0.5, 1.5, (1, 1)) | {"unwritable_reals": 1}, "double precision", None, ""),
        ("DECIMAL(6,2)", reals(0.5, 1e300, None), "double precision", None, ""),
        ("DECIMAL(40,2)", reals(0.5, 1.5, (1, 1)), "double precision", None, ""),
        # epochs
        ("DATETIME", ints(NOW, NOW + 9), "timestamptz", "epoch_s", "epoch_s"),
        ("DATETIME", ints(NOW * 1000, NOW * 1000 + 9), "timestamptz", "epoch_ms", "epoch_ms"),
        ("TIMESTAMP", ints(NOW * 10**6, NOW * 10**6 + 9), "timestamptz", "epoch_us", "epoch_us"),
        ("TIMESTAMP", ints(NOW * 10**9, NOW * 10**9 + 9), "timestamptz", "epoch_ns", "mixed"),
        (
            "DATETIME",
            ints((NOW + 11_644_473_600) * 10**6, (NOW + 11_644_473_600) * 10**6),
            "timestamptz",
            "webkit_us",
            "mixed",
        ),
        ("DATETIME", ints(0, NOW), "bigint", None, ""),
        ("DATETIME", ints(NOW, NOW * 1000), "bigint", None, ""),
        ("DATETIME", reals(NOW + 0.5, NOW + 1.5, (10, 1)), "timestamptz", "epoch_s", "mixed"),
        ("DATETIME", reals(NOW + 0.5, NOW + 1.5, (10, 7)), "double precision", None, ""),
        ("DATETIME", reals(2_460_000.5, 2_460_001.25, (7, 2)), "timestamptz", "julian", "mixed"),
        ("TIMESTAMP", ints(700_000_000, 700_000_009) | {"apple": True}, "timestamptz", "apple_s", "mixed"),
        ("TIMESTAMP", reals(7e8, 7e8 + 0.123456789, (9, 9)) | {"apple": True}, "double precision", None, ""),
        ("INTEGER", ints(NOW, NOW), "bigint", None, ""),
        # texts
        ("TEXT", {"texts": 9, "longest": 9}, "text", None, ""),
        ("VARCHAR(9)", {"texts": 9, "longest": 9}, "varchar(9)", None, ""),
        ("VARCHAR(9)", {"texts": 9, "longest": 10}, "text", None, ""),
        ("CHARACTER VARYING (9)", {"texts": 9, "longest": 9}, "varchar(9)", None, ""),
        ("NATIVE CHARACTER(70)", {"texts": 9, "longest": 9}, "varchar(70)", None, ""),
        ("VARCHAR(0)", {"texts": 9, "longest": 0}, "text", None, ""),
        ("INTEGER", {"texts": 9}, "text", None, ""),
        ("BLOB", {"texts": 9}, "text", None, ""),
        ("DATETIME", {"texts": 9, "times": {SECOND: 9}}, "timestamptz", None, SECOND),
        ("DATETIME", {"texts": 9, "times": {SECOND: 8}, "no_times": 1}, "text", None, ""),
        ("DATETIME", {"texts": 9, "times": {SECOND: 4, MICRO: 5}}, "timestamptz", None, ""),
        ("DATETIME", {"texts": 9, "times": {SECOND: 4, MICRO: 5}, "unique": True}, "text", None, ""),
        ("DATETIME", {"texts": 9, "times": {SECOND: 9}, "unique": True}, "timestamptz", None, SECOND),
        ("DATETIME", {"texts": 9, "times": {"YYYY-MM-DD HH24:MI:SS.F9": 9}}, "text", None, ""),
        ("DATETIME", {"texts": 9, "times": {'YYYY-MM-DD"T"HH24:MI:SSTZH:TZM': 9}}, "timestamptz", None, ""),
        ("DATE", {"texts": 9, "times": {"YYYY-MM-DD": 9}}, "date", None, ""),
        ("DATE", {"texts": 9, "times": {SECOND: 9}}, "timestamptz", None, SECOND),
        ("JSON", {"texts": 9}, "jsonb", None, ""),
        ("JSON", {"texts": 9, "lossy_json": 1}, "json", None, ""),
        ("JSON", {"texts": 9, "invalid_json": 1}, "text", None, ""),
        ("JSON", {"texts": 9, "unique": True}, "text", None, ""),
        # mixtures
        ("INTEGER", ints(1, 5) | {"texts": 1}, "text", "integer_or_text", "integer_or_text"),
        ("REAL", reals(0.5, 1.5, (1, 1)) | {"texts": 1}, "text", "integer_or_text", "mixed"),
        ("BLOB", {"blobs": 5, "texts": 1}, "bytea", None, "mixed"),
        ("TEXT", {"blobs": 5}, "bytea", None, ""),
        # nothing
        ("", {}, "text", None, ""),
        ("BLOB", {}, "bytea", None, ""),
        ("DATETIME", {}, "timestamptz", None, SECOND),
        ("DATE", {}, "date", None, ""),
        ("JSON", {}, "jsonb", None, ""),
        ("DECIMAL(6,2)", {}, "numeric(6,2)", None, ""),
        ("NUMERIC", {}, "double precision", None, ""),
    ],
)
def test_the_type_follows_from_affinity_and_values(
    declared: str, facts: dict[str, Any], type_: str, cast: str | None, form: str
) -> None:
    found = chosen(declared, **facts)
    assert (found.type, found.cast, found.form) == (type_, cast, form)


@pytest.mark.parametrize(
    ("declared", "facts", "type_", "invalid", "rules"),
    [
        ("TEXT", {"texts": 9, "nul": 1}, "text", Invalid.QUARANTINE, ["value-nul"]),
        ("TEXT", {"texts": 9, "invalid": 1, "nul": 1}, "text", Invalid.QUARANTINE, ["value-nul", "value-encoding"]),
        ("TEXT", {"texts": 9, "invalid": 5}, "bytea", Invalid.BYTES, ["value-encoding"]),
        ("BLOB", {"blobs": 5, "texts": 1}, "bytea", Invalid.BYTES, ["type-mixed-blobs"]),
        ("REAL", reals(0.5, 1.5, (1, 1)) | {"texts": 1}, "text", Invalid.TEXT, ["type-mixed-reals"]),
        ("", ints(1, 5) | {"texts": 1}, "text", None, ["type-mixed-free"]),
        (
            "",
            ints(1, 5) | {"texts": 1, "digit_texts": 1, "unique": True},
            "text",
            None,
            ["type-mixed"],
        ),
        ("DATETIME", {"texts": 9, "times": {SECOND: 8}, "no_times": 1}, "text", None, ["time-invalid"]),
        ("DATETIME", ints(0, 5), "bigint", None, ["time-unknown"]),
        ("VARCHAR(2)", {"texts": 9, "longest": 3}, "text", None, ["type-length"]),
    ],
)
def test_what_is_not_as_declared_is_found_with_its_rule(
    declared: str, facts: dict[str, Any], type_: str, invalid: Invalid | None, rules: list[str]
) -> None:
    found = chosen(declared, **facts)
    assert (found.type, found.invalid, [f.rule for f in found.findings]) == (type_, invalid, rules)


def test_numbers_of_a_column_named_like_a_time_are_pointed_out_and_stay_numbers() -> None:
    column = Column("created_at", "INTEGER", False, None, 0)
    found = choose(Place("t", column, ColumnProfile("created_at", integers=E(3), least=NOW, greatest=NOW)))
    assert (found.type, [f.rule for f in found.findings]) == ("bigint", ["time-integer"])
    assert "`cast: epoch_s`" in found.findings[0].instead
