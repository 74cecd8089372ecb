"""Which values cross into which type, and as what: loaded by the real loader, read back as text."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import apsw
import psycopg
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql as pg

from migration.errors import PlanError
from migration.load.arrays import Inexact, array_of
from migration.load.casts import BY_NAME, Cast, cast_for
from migration.load.jsontext import fits_json, fits_jsonb
from migration.load.table import load_table
from migration.verify.values import IMPOSSIBLE, json_verbatim
from tests.conftest import Server
from tests.engine.cast_samples import MATRIX, TIMES, Sample
from tests.engine.support import Raw, begin, database, insert, job_for, models, plan_for, quarantined, staged

FIRST, LAST = datetime(1, 1, 2), datetime(9999, 12, 30)  # noqa: DTZ001 - zones are put on as text


@pytest.fixture(scope="module")
def server(postgres_server: Server) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the server, for questions that change nothing."""
    with psycopg.connect(postgres_server.admin, autocommit=True) as connection:
        yield connection


def cast_of(name: str) -> Cast:
    return cast_for("t", "c", MATRIX[name].type, MATRIX[name].cast)


@pytest.mark.parametrize("name", MATRIX)
def test_each_value_of_the_matrix_crosses_exactly_or_is_quarantined(name: str, tmp_path: Path, target_dsn: str) -> None:
    samples = MATRIX[name]
    lines: list[tuple[Sample, str | None]] = [
        *samples.accepted,
        *((sample, None) for sample in samples.refused),
    ]
    random.Random(1).shuffle(lines)  # blocks shall hold both and be bisected
    source = database(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    insert(source, "t", [(n, value) for n, ((_, value), _) in enumerate(lines)])
    metadata = models(("t", [sa.Column("id", sa.Integer, primary_key=True), sa.Column("v", samples.type)]))
    plan = plan_for(metadata, {"t": {"invalid": "quarantine", "columns": {"v": {"cast": samples.cast}}}})
    job = begin(job_for(source, target_dsn, plan))

    load_table(job, "t")

    crossed: dict[int, str] = dict(staged(job, "t", "id, v::text"))
    assert {n: crossed.get(n) for n in range(len(lines))} == {n: text for n, (_, text) in enumerate(lines)}
    assert quarantined(job, "t") == {f"[{n}]": ("v", "inexact") for n, (_, text) in enumerate(lines) if text is None}


@pytest.mark.parametrize("name", MATRIX)
def test_one_value_and_a_block_of_values_convert_alike(name: str) -> None:
    cast = cast_of(name)
    samples = MATRIX[name]
    for storage, value in [sample for sample, _ in samples.accepted] + samples.refused:
        if storage not in cast.classes or isinstance(value, Raw):
            continue
        if storage == "integer" and cast.reads == pa.float64() and abs(value) > 2**53:
            continue  # no block holds it: see Reading.flag
        assert outcome(cast, value, storage) == block_outcome(cast, value)
    for storage, value in samples.refused:
        if storage not in cast.classes:
            assert outcome(cast, value, storage) is Inexact


def outcome(cast: Cast, value: Any, storage: str) -> Any:
    try:
        return comparable(cast.convert_one(value, storage))
    except Inexact:
        return Inexact


def block_outcome(cast: Cast, value: Any) -> Any:
    """What a block of the value among NULLs gives, cut out of a longer one as bisecting does."""
    if isinstance(value, int) and cast.reads == pa.string():
        value = str(value)  # as the block reader has SQLite write it
    array = pa.array([None, value, None, value], cast.reads)
    try:
        found = {comparable(v) for v in cast.convert(array).to_pylist() + cast.convert(array.slice(1, 2)).to_pylist()}
    except (Inexact, pa.ArrowException):
        return Inexact
    assert len(found) == 2
    return next(v for v in found if v is not None)


def comparable(value: Any) -> Any:
    return repr(value) if isinstance(value, float) else value  # tells -0.0 from 0.0


@pytest.mark.parametrize("name", MATRIX)
def test_an_empty_block_and_one_of_nulls_convert(name: str) -> None:
    cast = cast_of(name)
    assert len(cast.convert(pa.array([], cast.reads))) == 0
    assert cast.convert(pa.array([None, None], cast.reads)).to_pylist() == [None, None]
    assert cast.convert(pa.array([None, None], cast.reads)).type == cast.sends


def test_zoned_and_bare_times_in_one_block_are_each_read_as_what_they_are() -> None:
    cast = cast_of("timestamptz")
    block = pa.array(["2024-02-29T10:00:00+02:00", None, "2024-02-29 10:00:00", "2024-02-29", "2024-02-29T10:00Z"])
    hours = [v and v.hour for v in cast.convert(block).to_pylist()]
    assert hours == [8, None, 10, 0, 10]


def test_text_is_searched_for_nul_within_its_own_slice_only() -> None:
    cast = cast_of("text")
    block = pa.array(["a", "b\0", "c"])
    assert cast.convert(block.slice(0, 1)).to_pylist() == ["a"]
    assert cast.convert(block.slice(2)).to_pylist() == ["c"]
    with pytest.raises(Inexact):
        cast.convert(block.slice(1))


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.floats(allow_nan=False), st.decimals(-(10**9), 10**9, places=2).map(float)),
    st.sampled_from([(3, 2), (10, 2), (18, 2), (18, 9)]),
)
def test_a_double_crosses_into_numeric_exactly_when_its_shortest_decimal_fits(
    value: float, size: tuple[int, int]
) -> None:
    precision, scale = size
    cast = cast_for("t", "c", sa.Numeric(precision, scale), None)
    expected: Any = Inexact
    if math.isfinite(value):
        shortest = Decimal(repr(value))
        fits = abs(shortest) < Decimal(10) ** (precision - scale)
        if fits and round(shortest, scale) == shortest:
            expected = shortest
    assert block_outcome(cast, value) == expected
    assert outcome(cast, value, "real") == expected


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e10, 1e11), st.integers(0, 6))
def test_a_real_epoch_is_the_instant_of_its_shortest_decimal(value: float, places: int) -> None:
    value = round(value, places)
    expected: Any = Inexact
    micros = Decimal(repr(value)) * 10**6
    if micros == int(micros):
        expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(micros))
    assert block_outcome(BY_NAME["epoch_s"], value) == expected
    assert outcome(BY_NAME["epoch_s"], value, "real") == expected


MICROSECOND = timedelta(microseconds=1)
CLOCKS = {
    "epoch_s": (1970, timedelta(seconds=1), 1),
    "epoch_ms": (1970, timedelta(milliseconds=1), 1),
    "epoch_us": (1970, MICROSECOND, 1),
    "epoch_ns": (1970, MICROSECOND, 1000),
    "apple_s": (2001, timedelta(seconds=1), 1),
    "apple_ns": (2001, MICROSECOND, 1000),
    "webkit_us": (1601, MICROSECOND, 1),
}
"""The year in which each clock begins, its unit, and into how many ticks that is divided."""


@pytest.mark.parametrize("name", CLOCKS)
@settings(max_examples=100, deadline=None)
@given(
    moment=st.datetimes(FIRST, LAST) | st.datetimes(FIRST.replace(year=1710), LAST.replace(year=2260)),
    off=st.integers(1, 999),
)
def test_an_integer_of_a_clock_is_the_instant_that_python_counts_to(name: str, moment: datetime, off: int) -> None:
    year, unit, parts = CLOCKS[name]
    count, rest = divmod(moment - FIRST.replace(year=year, day=1), unit)
    value = count * parts
    cast = BY_NAME[name]
    if not -(2**63) <= value < 2**63 - 999:
        return  # no integer of SQLite
    expected = (moment - rest).replace(tzinfo=UTC)
    assert outcome(cast, value, "integer") == expected
    if abs(value) <= 2**53 or cast.reads == pa.int64():  # no block holds another one
        assert block_outcome(cast, value) == expected
    if parts > 1:
        assert outcome(cast, value + off, "integer") is Inexact
        assert block_outcome(cast, value + off) is Inexact


DAYS = st.floats(1721425.5, 5373484.499999999)


@settings(max_examples=500, deadline=None)
@given(DAYS | st.integers(1721426 << 14, 5373484 << 14).map(lambda n: n / 2**14))
def test_a_julian_day_is_its_nearest_microsecond_or_sqlites_millisecond_and_found_back_from_it(day: float) -> None:
    cast = BY_NAME["julian"]
    found = outcome(cast, day, "real")
    assert block_outcome(cast, day) == found
    exact = (Fraction(day) - Fraction(4881175, 2)) * 86_400_000_000
    micros = (found - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND
    assert micros == round(exact) or (micros % 1000 == 0 and abs(micros - exact) < 41)
    assert repr(float(Fraction(micros, 86_400_000_000) + Fraction(4881175, 2))) == repr(day)


def test_a_julian_day_is_the_instant_that_sqlite_itself_prints_in_milliseconds() -> None:
    cast, lite = BY_NAME["julian"], apsw.Connection(":memory:")
    draw = random.Random(3)
    for _ in range(2000):
        day = draw.uniform(1721426, 5373484)
        (written,) = lite.execute("SELECT strftime('%Y-%m-%d %H:%M:%f', ?)", [day]).fetchall()[0]
        apart = outcome(cast, day, "real") - datetime.fromisoformat(str(written)).replace(tzinfo=UTC)
        assert abs(apart) <= timedelta(microseconds=500 + 63)  # SQLite's own double of so many milliseconds


def test_a_julian_day_that_sqlite_made_of_a_time_is_that_time_to_the_millisecond() -> None:
    cast, lite = BY_NAME["julian"], apsw.Connection(":memory:")
    draw = random.Random(5)
    for _ in range(2000):
        moment = datetime(1, 1, 2, tzinfo=UTC) + timedelta(milliseconds=draw.randrange(315_000_000_000_000))
        written = moment.isoformat(" ", "milliseconds").removesuffix("+00:00")
        (day,) = lite.execute("SELECT julianday(?)", [written]).fetchall()[0]
        assert outcome(cast, day, "real") == moment
        assert block_outcome(cast, day) == moment


@settings(max_examples=200, deadline=None)
@given(
    st.datetimes(FIRST, LAST),
    st.sampled_from(["", "Z", "+02:00", "-0330", "+14"]),
    st.sampled_from("T "),
)
def test_an_iso_time_is_the_instant_that_python_reads(value: datetime, zone: str, between: str) -> None:
    text = value.isoformat(between) + zone
    expected = datetime.fromisoformat(text)
    expected = (expected if zone else expected.replace(tzinfo=UTC)).astimezone(UTC)
    assert outcome(cast_of("timestamptz"), text, "text") == expected
    assert block_outcome(cast_of("timestamptz"), text) == expected


NUMBERS = st.one_of(st.integers(-(10**30), 10**30), st.floats(allow_nan=False, allow_infinity=False))
ANY_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(ANY_JSON, st.booleans())
def test_json_is_accepted_exactly_when_postgresql_accepts_it(
    server: psycopg.Connection[Any], value: Any, ascii_only: bool
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    try:
        server.execute("SELECT %s::text::jsonb", [text])
        accepted = True
    except psycopg.DataError:
        accepted = False
    assert fits_jsonb(text) == accepted


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=3), ANY_JSON, ANY_JSON, st.sampled_from(["{}", "[{}]", '{{"a": {}}}', '[1, {{"b": [{}]}}]']))
@example('"', "", '"', "{}")
@example("a", '""', "", "[{}]")
def test_a_repeated_key_is_refused_wherever_it_stands(key: str, one: Any, other: Any, around: str) -> None:
    name = json.dumps(key)
    text = around.format(f"{{{name}: {json.dumps(one)}, {name}: {json.dumps(other)}}}")
    assert not fits_jsonb(text)
    assert fits_json(text)


@settings(max_examples=400, deadline=None)
@given(
    st.text(st.sampled_from('{}[],:" \\u0019aeE.+-tfn\n1ru\x7f\xa0'), max_size=12)
    | st.builds(lambda value, ascii_only: json.dumps(value, ensure_ascii=ascii_only), ANY_JSON, st.booleans())
)
@example('{"a":1,"a":"\\u0000\\ud800"}')
@example("[1e999999999]")
@example("-")
def test_json_text_is_kept_exactly_when_postgresql_takes_it(server: psycopg.Connection[Any], text: str) -> None:
    try:
        ((kept,),) = server.execute("SELECT %s::text::json::text", [text]).fetchall()
    except psycopg.DataError:
        kept = None
    assert kept == (text if fits_json(text) else None)
    assert json_verbatim(text) == (IMPOSSIBLE if kept is None else text)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (sa.Numeric(3, 2), 0.005, "0.01"), (sa.Numeric(3, 2), -0.005, "-0.01"), (sa.Numeric(3, 2), 0.666,
        "0.67"),
        (sa.Numeric(3, 2), 0.1 + 0.2, "0.30"), (sa.Numeric(3, 2), 9.994999, "9.99"), (sa.Numeric(3, 2),
        2.675, "2.68"),
        (sa.Numeric(3, 2), 9.995, None), (sa.Numeric(3, 2), 10, None), (sa.Numeric(3, 2), 1e300, None),
        (sa.Numeric(3, 2), math.inf, None), (sa.Numeric(3, 2), b"0.666", None), (sa.Numeric(3, 2), "0.666",
        None),
        (sa.Numeric(18, 0), 0.5, "1"), (sa.Numeric(18, 0), 1e30, None), (sa.Numeric(3, 2), 5e-324, "0.00"),
        (sa.Integer(), 0.5, None), (sa.Double(), 2**53 + 1, None),
    ],
)  # fmt: skip
def test_rounding_goes_half_away_from_zero_on_the_shortest_decimal(kind: Any, value: Any, expected: str | None) -> None:
    cast = cast_for("t", "c", kind, None)
    if expected is None:
        with pytest.raises(Inexact):
            cast.rounded(value)
    else:
        assert str(cast.rounded(value)) == expected


@pytest.mark.parametrize(
    "kind",
    [
        sa.REAL(), sa.Float(24), sa.CHAR(3), sa.NCHAR(3), sa.Enum("a", "b", name="e"),
        pg.TIMESTAMP(timezone=True, precision=3),
        sa.Numeric(), sa.Numeric(19, 2), sa.Numeric(3, 5), sa.Numeric(5, -2), sa.Uuid(),
        sa.Interval(), sa.Time(), pg.ARRAY(sa.Integer()),
        pg.INET(),
    ],
    ids=repr,
)  # fmt: skip
def test_a_type_in_which_postgresql_would_bend_or_refuse_values_has_no_cast(
    kind: sa.types.TypeEngine[Any],
) -> None:
    with pytest.raises(PlanError, match=r"Table t, column c: no cast leads to .* exclude_columns"):
        cast_for("t", "c", kind, None)


@pytest.mark.parametrize("kind", [sa.Double(), sa.Float(), sa.Float(53), sa.Float(25), pg.DOUBLE_PRECISION()], ids=repr)
def test_every_name_of_double_precision_keeps_a_double(kind: sa.types.TypeEngine[Any]) -> None:
    assert cast_for("t", "c", kind, None).target == "double precision"


def test_a_cast_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(PlanError, match="there is no cast 'epoch'; there are epoch_s, .*, julian, integer_or_text"):
        cast_for("t", "c", TIMES, "epoch")


@pytest.mark.parametrize("kind", [sa.Text(), sa.BigInteger(), sa.DateTime(), sa.JSON()], ids=repr)
def test_a_named_cast_that_leads_to_another_type_than_the_columns_is_refused(
    kind: sa.types.TypeEngine[Any],
) -> None:
    with pytest.raises(
        PlanError, match="the cast epoch_s leads to timestamp with time zone, and the target's column is"
    ):
        cast_for("t", "c", kind, "epoch_s")


@pytest.mark.parametrize("kind", [sa.BigInteger(), pg.JSON(), sa.Enum("a", name="e"), sa.CHAR(3), TIMES], ids=repr)
def test_integers_and_text_cross_into_text_only(kind: sa.types.TypeEngine[Any]) -> None:
    with pytest.raises(PlanError, match="the cast integer_or_text leads to text and varchar, and the target's column"):
        cast_for("t", "c", kind, "integer_or_text")


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.tuples(st.just(pa.int64()), st.lists(st.none() | st.integers(-(2**63), 2**63 - 1))),
        st.tuples(
            st.just(pa.float64()), st.lists(st.none() | st.floats(allow_nan=False) | st.integers(-(2**53), 2**53))
        ),
        st.tuples(st.just(pa.string()), st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"])))),
        st.tuples(st.just(pa.binary()), st.lists(st.none() | st.binary())),
        st.tuples(st.just(pa.bool_()), st.lists(st.none() | st.booleans())),
        st.tuples(st.just(pa.date32()), st.lists(st.none() | st.dates())),
        st.tuples(st.just(pa.timestamp("us")), st.lists(st.none() | st.datetimes())),
        st.tuples(st.just(pa.timestamp("us", "UTC")), st.lists(st.none() | st.datetimes(timezones=st.just(UTC)))),
        st.tuples(st.just(pa.decimal64(18, 3)), st.lists(st.none() | st.decimals(-(10**14), 10**14, places=3))),
    )
)
def test_an_array_of_looked_at_values_is_the_one_that_arrow_makes(one: tuple[pa.DataType, list[Any]]) -> None:
    kind, values = one
    assert array_of(values, kind).equals(pa.array(values, kind))


@pytest.mark.parametrize(
    ("kind", "value"),
    [(pa.int16(), 40_000), (pa.int64(), 2**63), (pa.float64(), 2**53 + 1), (pa.decimal64(5, 2), Decimal("1.234")),
     (pa.string(), "\ud800")],
)  # fmt: skip
def test_an_array_takes_no_value_that_its_type_would_change(kind: pa.DataType, value: Any) -> None:
    with pytest.raises((Inexact, pa.ArrowException, UnicodeEncodeError)):
        array_of([value], kind)
