"""SQLite's expressions mean the same in PostgreSQL: each translation is evaluated on difficult values in both."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migration.derive.parse import Refused
from migration.derive.translate import Translated, translate_check, translate_expression, translate_generated
from migration.derive.values import TIMES, Carried
from tests.conftest import Server
from tests.engine.twins import CARRIED, Twins, twins


@pytest.fixture(scope="module")
def both(postgres_server: Server) -> Iterator[Twins]:
    with twins(postgres_server) as found:
        yield found


TRANSLATIONS = [
    # a column that became boolean
    ("b = 1", '"b"'),
    ("b == 0", '(NOT "b")'),
    ("b <> 0", '"b"'),
    ("b = '1'", '"b"'),
    ("b IS 1", '("b" IS TRUE)'),
    ("b IS NOT 0", '("b" IS NOT FALSE)'),
    ("b IS TRUE", '("b" IS TRUE)'),
    ("NOT b", '(NOT "b")'),
    ("b IN (0, 1)", '("b"::integer IN (0, 1))'),
    ("b + i4", '("b"::integer::bigint + "i4")'),
    ("b = i4", '("b"::integer = "i4")'),
    ("b AND i4", '("b" AND ("i4" <> 0))'),
    # numbers
    ("i4 * 1000000", '("i4"::bigint * 1000000)'),
    ("i2 + i2", '("i2"::integer + "i2")'),
    ("i8 + 1", '("i8" + 1)'),
    ("i4 / i2", '("i4"::bigint / NULLIF("i2", 0))'),
    ("i4 % 0", '("i4" % NULLIF(0, 0))'),
    ("i8 > 0.5", '("i8" > (0.5))'),
    ("i8 > 9.3e18", '("i8" > (9300000000000000000))'),
    ("i4 > r", '("i4" > "r")'),
    ("r = 0.1", '("r" = 0.1::double precision)'),
    ("r / 2", '("r" / 2::double precision)'),
    ("r - r", "NULLIF((\"r\" - \"r\"), 'NaN'::double precision)"),
    ("num >= 0.5", '("num" >= (0.5))'),
    ("num * 2 > 10", '(("num"::double precision * 2::double precision) > 10)'),
    ("i4 = '5'", '("i4" = 5)'),
    ("-i4", '(- "i4"::bigint)'),
    ("i4 & 3 | i2 << 2", '((("i4"::bigint & 3::bigint) | "i2"::bigint) << 2::integer)'),
    ("~i4", '(~ "i4"::bigint)'),
    ("abs(i4)", 'abs("i4"::bigint)'),
    ("round(r)", "trunc("),
    ("max(i4, i2)", 'GREATEST("i4", "i2")'),
    ("CAST(r AS INTEGER)", 'trunc("r")::bigint'),
    ("CAST(i4 AS VARCHAR(9))", '"i4"::text'),
    ("i4 BETWEEN 1 AND 5", '(("i4" >= 1) AND ("i4" <= 5))'),
    ("i4 NOT IN (1, 2)", '(NOT ("i4" IN (1, 2)))'),
    ("i4 IN (1, NULL)", '("i4" IN (1, NULL))'),
    ("i4 IS NOT NULL", '("i4" IS NOT NULL)'),
    ("i4 NOTNULL", '("i4" IS NOT NULL)'),
    ("i4 IS 5", '("i4" IS NOT DISTINCT FROM 5)'),
    # texts
    ("t = 5", "(\"t\" = '5')"),
    ("t = 1.0", "(\"t\" = '1.0')"),
    ("t < 'b'", '("t" COLLATE "C" < \'b\' COLLATE "C")'),
    ("t > i4 || ''", '"i4"::text'),
    ("nc = 'ABC'", "(lower(\"nc\" COLLATE \"C\") = 'abc')"),
    ("nc < 'É'", 'lower("nc" COLLATE "C")'),
    ("t = nc", '("t" = "nc")'),
    ("nc = t", '(lower("nc" COLLATE "C") = lower("t" COLLATE "C"))'),
    ("t = 'AbC' COLLATE NOCASE", "(lower(\"t\" COLLATE \"C\") = 'abc')"),
    ("nc = 'ABC' COLLATE BINARY", "(\"nc\" = 'ABC')"),
    ("rt = 'a'", 'rtrim("rt")'),
    ("t LIKE 'a%'", '("t" COLLATE "C" ILIKE \'a%\')'),
    ("t LIKE 'É%'", "ILIKE"),
    ("t LIKE 'A\\%'", "E'A\\\\\\\\%'"),
    ("t LIKE '%!_c' ESCAPE '!'", "E'%\\\\_c'"),
    ("t NOT LIKE t", "NOT ILIKE \"t\" ESCAPE ''"),
    ("t GLOB '[A-Z]*'", "~ '^[A-Z].*$'"),
    ("t GLOB '*[^a-z]?'", "~ '^.*[^a-z].$'"),
    ("t GLOB 'a*c'", "'^a.*c$'"),
    ("t || '-' || i4", '("t" || \'-\' || "i4"::text)'),
    ("lower(t)", 'lower("t" COLLATE "C")'),
    ("upper(t)", 'upper("t" COLLATE "C")'),
    ("length(t)", 'length("t")'),
    ("length(bl)", 'octet_length("bl")'),
    ("instr(t, 'b')", "strpos(\"t\", 'b')"),
    ("substr(t, 2, 3)", 'substr("t", 2, 3)'),
    ("substr(t, 0, 3)", 'substr("t", 0, 3)'),
    ("substr(t, -2)", 'right("t", 2)'),
    ("substr(t, -2, 1)", "substr("),
    ("substr(t, instr(t, 'b') + 1)", 'substr("t", (strpos('),
    ("trim(t)", 'btrim("t")'),
    ("ltrim(t, 'a ')", "ltrim(\"t\", 'a ')"),
    ("replace(t, 'a', 'é')", "replace(\"t\", 'a', 'é')"),
    ("replace(t, t, NULL)", "CASE"),
    ("unicode(t)", 'NULLIF(ascii("t"), 0)'),
    ("hex(bl)", "encode("),
    ("bl > x'61'", "E'\\\\x61'::bytea"),
    ('"no column" = t', "'no column'"),
    ("typeof(t)", "'text'"),
    ("typeof(i4) = 'integer'", '("i4" IS NOT NULL)'),
    ("typeof(i4) <> 'null'", '("i4" IS NOT NULL)'),
    ("typeof(b) IN ('integer', 'null')", "CASE"),
    ("typeof(any) = 'text'", '("any" IS NOT NULL)'),
    ("typeof(t) = 'integer'", "false"),
    # choices
    ("coalesce(i4, 0) > 5", '(COALESCE("i4", 0) > 5)'),
    ("ifnull(t, '')", "COALESCE(\"t\", '')"),
    ("coalesce(r, 0)", "COALESCE"),
    ("nullif(t, '')", "CASE WHEN"),
    ("iif(i4 > 1, 'a', 'b')", "CASE WHEN"),
    ("CASE i4 WHEN 1 THEN 'a' WHEN 2 THEN NULL END", "CASE WHEN"),
    ("CASE WHEN b THEN 1 ELSE 0 END", 'CASE WHEN "b" THEN 1 ELSE 0 END'),
    # what is neither integer nor text alone
    ("it IN ('WKT', 'PROJString', 5)", "(\"it\" IN ('WKT', 'PROJString', '5'))"),
    ("it <> '5'", "(\"it\" <> '5')"),
    ("it || 'x'", "(\"it\" || 'x')"),
    ("length(it)", 'length("it")'),
    # times
    ("d > '2020-01-01'", "(\"d\" > '2020-01-01'::date)"),
    ("d LIKE '2020%'", "to_char("),
    ("ts >= '2020-01-01 00:00:01'", "'2020-01-01 00:00:01+00'::timestamp with time zone"),
    ("ts >= '2020-01-01'", "to_char("),
    ("tz = '2020-01-01T00:00:00.001Z'", "'2020-01-01 00:00:00.001+00'"),
    ("tz > ts", "to_char("),
    ("tu < '2020-01-01 05:00'", "::timestamp without time zone"),
    ("ep > 1577836799", "extract(epoch"),
    ("em % 1000", "extract(epoch"),
    ("date(ts) = d", "::date"),
    ("strftime('%Y', ts)", "'YYYY'"),
    ("strftime('%d%d', d)", "'DD\"\"DD'"),
    ("strftime('%Y-%m-%dT%H:%M:%fZ', tz)", "SS.MS"),
    ("CAST(strftime('%m', d) AS INTEGER) = 12", "::bigint = 12"),
    ("strftime('%s', ts)", "floor(extract(epoch"),
    ("unixepoch(tu)", "floor(extract(epoch"),
    ("julianday(tz)", "86400000"),
    ("datetime(ep, 'unixepoch')", "to_timestamp"),
    ("date('2020-01-31', '+1 month')", "'2020-03-02'"),
    ("any IS NULL", '("any" IS NULL)'),
    # JSON
    ("json_valid(j)", '("j" IS NOT NULL OR NULL)'),
    ("json_valid(t)", "IS JSON"),
    ("json_extract(j, '$.a') = 'foo'", "((\"j\" #>> '{a}') = 'foo')"),
    ("j ->> '$.a.b' IN ('foo', 'x')", None),
    ("json_extract(j, '$.a') IS NULL", "IS NULL"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "part"), TRANSLATIONS, ids=[t[0] for t in TRANSLATIONS])
def test_a_translation_yields_sqlites_value_for_every_row(both: Twins, expression: str, part: str | None) -> None:
    found = both.check(expression)
    if part is None:
        assert found is None
    else:
        assert found is not None
        assert part in found


REFUSALS = [
    ("i8 > r", "beyond"),
    ("-i8 = r", "beyond"),
    ("num / 2", "integer or real"),
    ("x + 1", "may exceed"),
    ("r || ''", "written differently|write differently"),
    ("CAST(t AS INTEGER)", "cast to INTEGER"),
    ("t + 1", "used as a number"),
    ("t AND b", "used as a condition"),
    ("i4 = 'abc'", "compared with a number"),
    ("t = i4", "compared with a number"),
    ("any > '2020'", "how it was written is not known"),
    ("j = '{}'", "how it was written is not known"),
    ("date(t)", "unknown form"),
    ("datetime(any)", "unknown form|not known"),
    ("date(ts, '+1 day')", "years"),
    ("datetime('now', 'localtime')", "localtime"),
    ("date('now', '-1 month')", "month"),
    ("strftime('%W', d)", "%W"),
    ("json_extract(j, '$.a')", "JSON"),
    ("json_extract(j, '$.a') > 'x'", "JSON"),
    ("json_extract(t, '$.a') = 'x'", "json_extract"),
    ("typeof(x) = 'real'", "typeof"),
    ("round(r, 2)", "shortest decimal"),
    ("substr(t, i4)", "negative"),
    ("substr(t, 1, i4)", "negative"),
    ("printf('%d', i4)", "printf"),
    ("t REGEXP 'a'", "REGEXP"),
    ("title_sort(t)", "title_sort.*application"),
    ("t = 'x' COLLATE localized", "localized"),
    ("t GLOB t", "no constant"),
    ("t LIKE t ESCAPE '!'", "no constant"),
    ("nope = 1", "nope"),
    ("i4 IN (SELECT 1)", "subquery"),
    ("(i4, i2) = (1, 2)", "TUPLE"),
    ("i4 = t LIKE 'a'", "otherwise than SQLite"),
    ("i4 = 1; DROP TABLE t", "does not read it|no SELECT|SQLite"),
    ("1) FROM t; --", "."),
    ("it < 5", "several storage classes"),
    ("max(t, nc)", "bytes"),
    ("coalesce(t, i4)", "different kinds"),
    ("(t COLLATE NOCASE) || 'a'", "COLLATE inside"),
    ("changes()", "no equal"),
]


@pytest.mark.parametrize(("expression", "reason"), REFUSALS, ids=[r[0] for r in REFUSALS])
def test_what_is_not_proven_equal_is_refused_with_its_reason(expression: str, reason: str) -> None:
    found = translate_expression(expression, columns=CARRIED)
    assert isinstance(found, Refused), found
    assert re.search(reason, found.reason), found.reason


# Random expressions, each kind made of what can yield it.

_NUMBERS = st.sampled_from(["i8", "i4", "i2", "b", "r", "num", "x", "ep", "0", "1", "-1", "2", "5", "0.5", "1e3", "9223372036854775807", "2147483648"])  # fmt: skip
_TEXTS = st.sampled_from(["t", "nc", "rt", "it", "d", "ts", "tz", "''", "'a'", "'ABC'", "'é'", "'5'", "'2020-01-01'", "'%a%'", '"zz"'])  # fmt: skip


def _join(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map("".join)


def _numbers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operator = st.sampled_from([" + ", " - ", " * ", " / ", " % ", " & ", " | "])
    one = st.sampled_from(["abs", "length", "round", "sign", "unicode", "ceil", "-", "+", "~"])
    return st.one_of(
        _join(inner, operator, inner),
        _join(st.just("("), inner, operator, inner, st.just(")")),
        _join(one, st.just("("), inner, st.just(")")),
        _join(st.just("instr("), texts, st.just(", "), texts, st.just(")")),
        _join(st.just("coalesce("), inner, st.just(", "), inner, st.just(")")),
        _join(st.just("CASE WHEN "), conditions, st.just(" THEN "), inner, st.just(" ELSE "), inner, st.just(" END")),
        _join(st.just("CAST("), inner, st.just(" AS INTEGER)")),
    )


def _texts(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    one = st.sampled_from(["lower", "upper", "trim", "rtrim", "typeof", "date", "time"])
    return st.one_of(
        _join(inner, st.just(" || "), st.one_of(inner, numbers)),
        _join(one, st.just("("), inner, st.just(")")),
        _join(st.just("substr("), inner, st.sampled_from([", 1", ", 2, 3", ", -2", ", -3, 2", ", 0, 2"]), st.just(")")),
        _join(st.just("replace("), inner, st.just(", "), inner, st.just(", "), inner, st.just(")")),
        _join(st.just("ifnull("), inner, st.just(", "), inner, st.just(")")),
        _join(st.just("nullif("), inner, st.just(", "), inner, st.just(")")),
        _join(st.just("iif("), conditions, st.just(", "), inner, st.just(", "), inner, st.just(")")),
        _join(st.just("min("), inner, st.just(", "), inner, st.just(")")),
    )


def _conditions(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operator = st.sampled_from([" = ", " <> ", " < ", " >= ", " IS ", " IS NOT ", " LIKE ", " IS NOT DISTINCT FROM "])
    sides = st.sampled_from([_NUMBERS, _TEXTS]).flatmap(lambda kind: _join(kind, operator, kind))
    return st.one_of(
        sides,
        _join(inner, st.sampled_from([" AND ", " OR ", " = ", " IS "]), inner),
        _join(st.just("NOT "), inner),
        _join(st.just("("), inner, st.just(")")),
        _join(_NUMBERS, st.just(" BETWEEN "), _NUMBERS, st.just(" AND "), _NUMBERS),
        _join(
            _TEXTS,
            st.sampled_from([" IN ('a', 'ABC', NULL)", " NOT IN ('5', 'é')", " COLLATE NOCASE = 'abc'", " ISNULL"]),
        ),
        _join(_NUMBERS, st.sampled_from([" IN (1, 2)", " NOT IN (0, 0.5)", " NOTNULL", " IS NOT TRUE"])),
        _join(_TEXTS, st.sampled_from([" GLOB 'a*'", " GLOB '[A-Z]?*'", " LIKE '_b%'", " NOT LIKE 'É'"])),
    )


numbers: st.SearchStrategy[str] = st.deferred(lambda: st.recursive(_NUMBERS, _numbers, max_leaves=4))
texts: st.SearchStrategy[str] = st.deferred(lambda: st.recursive(_TEXTS, _texts, max_leaves=4))
conditions: st.SearchStrategy[str] = st.deferred(
    lambda: st.recursive(_join(_NUMBERS, st.just(" = "), _NUMBERS), _conditions, max_leaves=4)
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(expression=st.one_of(numbers, texts, conditions))
def test_random_expressions_are_refused_or_yield_sqlites_value(both: Twins, expression: str) -> None:
    both.check(expression)


def test_a_check_holds_for_null_and_needs_no_number() -> None:
    columns = {"active": ("is active", "boolean"), "qty": ("qty", "integer")}
    assert translate_check("active IN (0,1)", columns=columns) == Translated('("is active"::integer IN (0, 1))')
    assert translate_check("T.qty", columns=columns, table="t") == Translated('("qty" <> 0)')


def test_what_depends_on_the_clock_or_on_settings_is_refused_where_postgresql_wants_it_immutable() -> None:
    assert isinstance(translate_expression("strftime('%Y', d)", columns=CARRIED), Translated)
    for expression in ("strftime('%Y', d)", "d < CURRENT_DATE", "random()"):
        assert isinstance(translate_expression(expression, columns=CARRIED, immutable=True), Refused)


GENERATED = [
    ("i4 + i2", Carried("g", "bigint", "INTEGER")),
    ("i4 > 1", Carried("g", "boolean", "NUMERIC")),
    ("i4 > 1", Carried("g", "integer", "INTEGER")),
    ("i4", Carried("g", "double precision", "REAL")),
    ("i4", Carried("g", "text", "TEXT")),
    ("lower(t) || '-' || i4", Carried("g", "text", "TEXT")),
    ("date(ts)", Carried("g", "date", "TEXT")),
    ("ts", Carried("g", TIMES[0], "NUMERIC")),
    ("hex(bl)", Carried("g", "text", "TEXT")),
    ("coalesce(nc, t)", Carried("g", "text", "BLOB")),
]


@pytest.mark.parametrize(("expression", "target"), GENERATED)
def test_a_generated_column_has_sqlites_values(both: Twins, expression: str, target: Carried) -> None:
    found = translate_generated(expression, columns=CARRIED, target=target)
    assert isinstance(found, Translated), found
    affinity = {"BLOB": ""}.get(target.affinity or "", target.affinity)
    both.sqlite.execute(f"ALTER TABLE t ADD COLUMN g {affinity} AS ({expression})")
    try:
        both.postgres.execute(f"ALTER TABLE t ADD g {target.type} GENERATED ALWAYS AS ({found.sql}) STORED".encode())
        want = [row[0] for row in both.sqlite.execute("SELECT g FROM t ORDER BY n")]
        shown = "to_char(g AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')" if target.type == TIMES[0] else "g"
        shown = "to_char(g, 'YYYY-MM-DD')" if target.type == "date" else shown
        got = [row[0] for row in both.postgres.execute(f"SELECT {shown} FROM t ORDER BY n".encode())]
        assert got == want
    finally:
        both.sqlite.execute("ALTER TABLE t DROP COLUMN g")
        both.postgres.execute("ALTER TABLE t DROP COLUMN IF EXISTS g")


def test_generated_columns_that_postgresql_cannot_have_are_refused() -> None:
    target = Carried("g", "text", "TEXT")
    for expression, reason in (
        ("strftime('%Y', d)", "settings"),
        ("t || h", "refer to another"),
        ("r", "written|write"),
        ("json_extract(j, '$.a')", "json"),
    ):
        columns = {**CARRIED, "h": Carried("h", "text")}
        found = translate_generated(expression, columns=columns, target=target, generated=["H"])
        assert isinstance(found, Refused)
        assert re.search(reason, found.reason), found.reason
