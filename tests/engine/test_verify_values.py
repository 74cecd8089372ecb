"""Each type has one definition of what the target must hold; SQL on both sides agrees with it, value by value."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import apsw
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import sql
from sqlalchemy.dialects import postgresql

from migration.errors import PlanError, TargetError
from migration.sqlite.catalog import read_catalog
from migration.verify.codecs import NOTHING, Codec, Column, codec_for
from migration.verify.hashing import by_readers, digest
from migration.verify.source import Block, Source
from migration.verify.target import print_alike, recast
from migration.verify.values import IMPOSSIBLE, UNITS, Broken, Canonical
from tests.engine.cast_samples import MATRIX, Sample, Samples
from tests.engine.support import Raw

TYPES = {
    "smallint": ("int2", -1),
    "integer": ("int4", -1),
    "bigint": ("int8", -1),
    "boolean": ("bool", -1),
    "text": ("text", -1),
    "varchar(4)": ("varchar", 8),
    "bytea": ("bytea", -1),
    "double precision": ("float8", -1),
    "numeric": ("numeric", -1),
    "numeric(3,2)": ("numeric", (3 << 16 | 2) + 4),
    "numeric(10,2)": ("numeric", (10 << 16 | 2) + 4),
    "numeric(18,0)": ("numeric", (18 << 16) + 4),
    "numeric(38,14)": ("numeric", (38 << 16 | 14) + 4),
    "numeric(38,20)": ("numeric", (38 << 16 | 20) + 4),
    "numeric(5,-2)": ("numeric", (5 << 16 | (-2 & 0x7FF)) + 4),
    "date": ("date", -1),
    "timestamp": ("timestamp", -1),
    "timestamp with time zone": ("timestamptz", -1),
    "jsonb": ("jsonb", -1),
    "json": ("json", -1),
}
CASTS = (*UNITS, "julian")
FIRST, LAST = datetime.fromisoformat("0001-01-01"), datetime.fromisoformat("9999-12-31")


def codec(name: str, cast: str | None = None) -> Codec:
    """The codec of a type as it is written."""
    return codec_for("c", *TYPES[name], name, cast)


@pytest.fixture(scope="module")
def server(postgres_server: Any) -> Iterator[psycopg.Connection[Any]]:
    """A connection that prints values as verification has them printed."""
    with psycopg.connect(postgres_server.admin) as connection:
        print_alike(connection)
        yield connection
        connection.rollback()


def printed(server: psycopg.Connection[Any], type_: str, chosen: Codec, text: str | bytes) -> Canonical:
    """The canonical form that the target gives for a value written as ``text``; IMPOSSIBLE when it has none."""
    value = sql.SQL("CAST(%s AS {})").format(sql.SQL(type_))
    query = sql.SQL("SELECT {}").format(chosen.target.format(value))
    try:
        with server.transaction():
            found: Canonical = server.execute(query, [text]).fetchall()[0][0]
            return found
    except psycopg.errors.DataError:
        return IMPOSSIBLE


def raw(value: Any) -> Any:
    """A sample's value as a reader takes it."""
    if isinstance(value, Raw):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return Broken(bytes(value))
    return value


LINES = [pytest.param(name, line, id=name) for name, line in MATRIX.items()]


def of_line(server: psycopg.Connection[Any], line: Samples) -> tuple[str, Codec]:
    """The type of a line of the matrix, as PostgreSQL writes it, and its codec."""
    written = line.type.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    with server.transaction(force_rollback=True):
        server.execute(f"CREATE TEMP TABLE sample (c {written})".encode())
        facts = server.execute(
            "SELECT t.typname, a.atttypmod, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a"
            " JOIN pg_type t ON t.oid = a.atttypid WHERE a.attrelid = 'pg_temp.sample'::regclass AND a.attname = 'c'"
        ).fetchall()[0]
    return facts[2], codec_for("c", facts[0], facts[1], facts[2], line.cast)


@pytest.mark.parametrize(("name", "line"), LINES)
def test_what_must_cross_has_the_form_that_the_server_prints(
    server: psycopg.Connection[Any], name: str, line: Samples
) -> None:
    type_, chosen = of_line(server, line)
    for (storage, value), text in line.accepted:
        assert chosen.read(raw(value)) == printed(server, type_, chosen, text), (name, storage, value)


@pytest.mark.parametrize(("name", "line"), LINES)
def test_what_cannot_cross_has_no_form(server: psycopg.Connection[Any], name: str, line: Samples) -> None:
    _, chosen = of_line(server, line)
    for storage, value in line.refused:
        deep = chosen.type in ("json", "jsonb") and isinstance(value, str | Raw) and len(value) > 500
        assert deep or chosen.read(raw(value)) is IMPOSSIBLE, (name, storage, value)


def opened(chosen: Codec, sample: Sample) -> Source:
    """A table of one column that holds the value."""
    connection, (_, value) = apsw.Connection(":memory:"), sample
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, c)")
    mark, bound = ("CAST(? AS TEXT)", bytes(value)) if isinstance(value, Raw) else ("?", value)
    connection.execute(f"INSERT INTO t VALUES (1, {mark})", [bound])
    columns = [Column("c", "c", chosen, not_null=False)]
    return Source(connection, read_catalog(connection).table("t"), columns)


def agreed(server: psycopg.Connection[Any], chosen: Codec, sample: Sample) -> bool:
    """Whether SQL digests the value as the reader does."""
    source, block = opened(chosen, sample), Block(None, (1,), 1, 1)
    fast, slow = recast(server, digest(source, block)), by_readers(source, block)[0]
    assert not fast.pending
    assert chosen.lengths is not None or chosen.digits or fast.given == (int(sample[0] != "null"),)
    return fast.parts == slow.hashes


def by_sql(chosen: Codec, sample: Sample) -> tuple[bytes, Any]:
    """What the source's expressions give for a value and for its length; NOTHING when the value stops them."""
    source = opened(chosen, sample)
    form = chosen.source.format(x="c", read="read_0")
    length = chosen.lengths[0].format(x="c") if chosen.lengths else "NULL"
    try:
        found, octets = source.one(f"SELECT CAST({form} AS BLOB), {length} FROM t")
        return bytes(found), octets
    except UnicodeDecodeError:
        return NOTHING, "!"


@pytest.mark.parametrize(("name", "line"), LINES)
def test_sql_makes_of_every_sample_what_the_reader_makes_of_it(
    server: psycopg.Connection[Any], name: str, line: Samples
) -> None:
    _, chosen = of_line(server, line)
    for sample, _ in line.accepted:
        assert agreed(server, chosen, sample), (name, sample)


numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-200, 200),
    st.floats(allow_nan=False),
    st.integers(-(10**17), 10**17).map(lambda n: n / 100),
    st.integers(-99999, 99999).map(lambda n: n / 1000),
    st.sampled_from(
        [0.0, -0.0, math.inf, -math.inf, 2.0**53, 2.0**63, -(2.0**63), 1e15, 1e22, 0.615, 2.675, 1.005, 5e-324]
    ),
)
days = st.from_regex(r"(0000|0001|19[0-9]{2}|20[0-9]{2}|9999)-(0[0-9]|1[0-3])-([012][0-9]|3[012])", fullmatch=True)
clocks = st.from_regex(
    r"[ Tt_]([01][0-9]|2[0-5]):[0-6][0-9](:[0-6][0-9](\.[0-9]{0,7})?)?(Z|z|[+-][0-2][0-9](:?[0-6][0-9])?|\+00)?",
    fullmatch=True,
)
times = st.one_of(
    days,
    st.tuples(days, clocks).map("".join),
    st.datetimes(min_value=FIRST).map(str),
    st.datetimes(min_value=FIRST).map(datetime.isoformat),
    st.datetimes(min_value=FIRST).map(lambda d: d.isoformat(timespec="milliseconds") + "Z"),
)
texts = st.one_of(
    st.text(max_size=6),
    times,
    st.sampled_from(["1", "true", "NULL", "a\0b", "\x1e\x03", "\x1f\x02", "{}", "[1.50]", "-0"]),
)
mangled = st.tuples(
    times, st.integers(0, 27), st.sampled_from(["\0", "Z", "T", " ", "0", ".", "é", "", "\x1f\x02", "Z0"])
).map(lambda t: t[0][: t[1]] + t[2] + t[0][t[1] + 1 :])
samples: st.SearchStrategy[Sample] = st.one_of(
    numbers.map(lambda n: ("integer" if isinstance(n, int) else "real", n)),
    st.one_of(texts, mangled).map(lambda t: ("text", t)),
    st.binary(max_size=5).map(lambda b: ("blob", b)),
    st.binary(max_size=5).map(lambda b: ("text", Raw(b))),
    st.just(("null", None)),
)


@pytest.mark.parametrize(
    ("name", "cast"),
    [*((name, None) for name in TYPES), ("text", "integer_or_text"), ("varchar(4)", "integer_or_text")],
)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(sample=samples)
def test_sql_and_reader_agree_on_any_value(
    server: psycopg.Connection[Any], name: str, cast: str | None, sample: Sample
) -> None:
    agree(server, name, codec(name, cast), sample)


@pytest.mark.parametrize("name", ["timestamp", "timestamp with time zone", "date"])
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(sample=st.one_of(times, mangled, mangled).map(lambda t: ("text", t)))
@example(sample=("text", "2024-01-01 00:00:00.\0"))
@example(sample=("text", "2024-01-01\0 00:00:00"))
@example(sample=("text", "2024-01-01T00:00:00.5Z0Z"))
@example(sample=("text", "2024-01-01 00:00:00..."))
@example(sample=("text", "2024-01-01 00:00:0000"))
@example(sample=("text", "2024-01-01 00:00:00.000"))
@example(sample=("text", "2024-01-01 00:00:00.5+00"))
@example(sample=("text", "10000-01-01 00:00:00.12"))
@example(sample=("text", "0044-03-15 00:00:00 BC"))
@example(sample=("text", "infinity"))
@example(sample=("text", "2024-02-29T23:30:00+00:00"))
@example(sample=("text", "2024-02-29T23:30:00.250-01:45"))
@example(sample=("text", "2023-02-29T23:30:00-01:45"))
@example(sample=("text", "2024-02-29 24:00:00+02:00"))
@example(sample=("text", "2024-02-29 00:00:00.1+14:59"))
@example(sample=("text", "2024-02-29 00:00:00+15:59"))
@example(sample=("text", "0001-01-01 00:00:00+00:01"))
@example(sample=("text", "9999-12-31 23:59:59-00:01"))
@example(sample=("text", "2024-02-29 00:00:00.000+02:00"))
@example(sample=("text", "2024-02-29 00:00\0:00+02:00"))
def test_sql_and_reader_agree_on_any_time(server: psycopg.Connection[Any], name: str, sample: Sample) -> None:
    agree(server, name, codec(name), sample)


@pytest.mark.parametrize("declared", ["", "TEXT", "DATETIME", "INTEGER", "REAL"])
def test_the_usual_forms_of_an_instant_need_no_reader_whatever_the_column_was_declared_as(declared: str) -> None:
    connection, chosen = apsw.Connection(":memory:"), codec("timestamp with time zone")
    connection.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, c {declared})")
    ends = ["", "Z", "+00:00", "+02:00", "-09:30"]
    usual = [f"2024-02-29{t}12:30:45{f}{end}" for t in " T" for f in ("", ".5", ".120", ".000001") for end in ends]
    connection.executemany("INSERT INTO t (c) VALUES (?)", [(text,) for text in usual])

    def refuse(*value: Any) -> Any:
        raise AssertionError(value)

    connection.create_scalar_function("read_0", refuse, 1)
    found = connection.execute(f"SELECT {chosen.source.format(x='c', read='read_0')} FROM t").fetchall()
    assert [form for (form,) in found] == [chosen.read(text) for text in usual]


@pytest.mark.parametrize(
    ("expression", "whole"), [("json(v)", False), ("json_extract(v, '$')", True)], ids=["JSON", "a number in JSON"]
)
def test_json_text_that_shows_an_integer_is_none(expression: str, whole: bool) -> None:
    connection, chosen = apsw.Connection(":memory:"), codec("integer")
    connection.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v, c AS ({expression}))")
    connection.execute("INSERT INTO t (v) VALUES ('5')")
    source = Source(connection, read_catalog(connection).table("t"), [Column("c", "c", chosen, not_null=False)])
    (found,) = digest(source, Block(None, (1,), 1, 1)).parts
    assert (found == hashlib.sha256(b"5").digest()) == whole


@pytest.mark.parametrize("cast", CASTS)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    number=st.one_of(
        st.integers(-(2**63), 2**63 - 1),
        st.floats(1721425.0, 5373485.0),
        st.integers(-(10**12), 10**12),
        st.integers(-3000, 3000),
        numbers,
    )
)
@example(number=-62135596800)
@example(number=-62135596801)
@example(number=253402300799)
@example(number=253402300800)
@example(number=-9223372036854775808)
@example(number=9223372036854775807)
@example(number=1709201472123456789)
@example(number=265046774400000000)
@example(number=-50491123200000000)
@example(number=252423993600)
@example(number=-63113904000)
def test_sql_and_reader_agree_on_any_epoch(server: psycopg.Connection[Any], cast: str, number: float) -> None:
    for name in ("timestamp", "timestamp with time zone"):
        agree(server, name, codec(name, cast), ("integer" if isinstance(number, int) else "real", number))


def agree(server: psycopg.Connection[Any], name: str, chosen: Codec, sample: Sample) -> None:
    """SQL says what the reader says; where the reader finds no form, SQL says nothing that the target could print."""
    value = raw(sample[1])
    if value is None or chosen.read(value) is not IMPOSSIBLE:
        assert agreed(server, chosen, sample)
        return
    shown, length = by_sql(chosen, sample)
    if chosen.null is not None:
        assert len(shown) != len(chosen.null)
        return
    if chosen.lengths is not None:
        assert length == "!" or int(length) != len(shown)
        return
    try:
        text = shown.decode()
    except UnicodeDecodeError:
        return  # no text of the target has these bytes
    assert "\0" in text or printed(server, name, chosen, text) != text


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(number=st.floats(allow_nan=False))
def test_a_double_has_the_bytes_that_the_server_sends(server: psycopg.Connection[Any], number: float) -> None:
    chosen = codec("double precision")
    assert chosen.read(number) == struct.pack(">d", number) == printed(server, "double precision", chosen, repr(number))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_numeric_without_a_scale_holds_the_shortest_decimal(server: psycopg.Connection[Any], number: float) -> None:
    chosen = codec("numeric")
    assert chosen.read(number) == printed(server, "numeric", chosen, repr(number))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(number=st.one_of(st.integers(-99999, 99999).map(lambda n: n / 1000), st.floats(-10, 10), st.integers(-11, 11)))
@example(number=2.675)
@example(number=-2.675)
@example(number=9.995)
def test_rounding_by_declaration_is_numerics_own(server: psycopg.Connection[Any], number: float) -> None:
    chosen = codec("numeric(3,2)")
    assert chosen.altered("round", number) == printed(server, "numeric(3,2)", chosen, repr(number))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    moment=st.datetimes(min_value=FIRST + timedelta(days=1), max_value=LAST - timedelta(days=1)),
    minutes=st.integers(-959, 959),
)
def test_an_instant_with_an_offset_is_the_servers(
    server: psycopg.Connection[Any], moment: datetime, minutes: int
) -> None:
    chosen = codec("timestamp with time zone")
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    text = f"{moment.isoformat(' ')}{sign}{hours:02d}:{rest:02d}"
    assert chosen.read(text) == printed(server, "timestamptz", chosen, text)


def test_an_epoch_is_counted_in_its_unit() -> None:
    moment = datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
    micros = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    chosen = {unit: codec("timestamp with time zone", unit) for unit in CASTS}
    assert chosen["epoch_us"].read(micros) == "2023-11-14 22:13:20.123456+00"
    assert chosen["epoch_ms"].read(micros // 1000) == "2023-11-14 22:13:20.123+00"
    assert chosen["epoch_s"].read(micros // 10**6) == "2023-11-14 22:13:20+00"
    assert chosen["epoch_s"].read(1700000000.5) == "2023-11-14 22:13:20.5+00"
    assert chosen["epoch_s"].read(1700000000.1234567) is IMPOSSIBLE
    assert chosen["epoch_s"].read("1700000000") is IMPOSSIBLE


@pytest.mark.parametrize(
    ("type_name", "written"), [("float4", "real"), ("bpchar", "character(3)"), ("uuid", "uuid"), ("_text", "text[]")]
)
def test_a_type_that_cannot_be_compared_exactly_is_refused_by_name(type_name: str, written: str) -> None:
    with pytest.raises(TargetError, match=f"t.c has type {written.replace('(', '.').replace('[', '.')[:9]}"):
        codec_for("t.c", type_name, -1, written, None)


def test_a_cast_that_verification_does_not_know_is_refused_by_name() -> None:
    with pytest.raises(PlanError, match=r"t\.c: verification knows no cast 'lunar' into timestamp"):
        codec_for("t.c", "timestamptz", -1, "timestamp with time zone", "lunar")
    with pytest.raises(PlanError, match="epoch_s"):
        codec_for("t.c", "int4", -1, "integer", "epoch_s")
    with pytest.raises(PlanError, match="integer_or_text into text and varchar"):
        codec_for("t.c", "json", -1, "json", "integer_or_text")
