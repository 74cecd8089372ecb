"""JSON text is written exactly as the server prints it once it is jsonb, and refused where jsonb would not keep it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migration.verify.jsonb import DEEPEST, NotJsonb, is_extreme, jsonb_text

KEPT = [
    *(
        "1",
        "-1",
        "0",
        "-0",
        "1.10",
        "1.0",
        "-0.0",
        "-0.50",
        "1e5",
        "1E-3",
        "1e+5",
        "1.5e3",
        "1.50e1",
        "123e-2",
        "-12e3",
    ),
    *("0e5", "0e-5", "0.0e3", "1e131071", "1e-16383", "0e200000", "10e131070", "0.001e131074", "-1e-5"),
    *("1" + "0" * 5000, "-" + "9" * 5000, "1" * 131_072, "0." + "0" * 16_382 + "1", "100000000000000000000.000"),
    *(
        "true",
        "false",
        "null",
        "[]",
        "{}",
        "[[]]",
        "[{}]",
        "[ ]",
        "{ }",
        " [1 , 2 ]\n",
        "\t\r\n1 ",
        "[true,false,null]",
    ),
    *('""', '"\\u00e9"', '"a\\/b\\u0041\\b\\f\\n\\r\\t\\u001f\\u007f"', '"\x7f"', '"\u2028\ufffe\U0010ffff"'),
    *('"\\ud83d\\ude00"', '"\\uDBFF\\uDFFF"', '"\\\\u0000"', '"\\\\\\\\u0000"', '"%s %% %d {}"', '"\\u001F"'),
    *('{"b":1,"a":2,"aa":0,"é":3,"zz":1,"Z":0}', '{"":1}', '{"%s":1,"%":"%"}', '{"a":{"b":[1,{"c":null}]}}'),
    *('{"a" : 1 , "b":[ ]}', '{"b":{"y":1,"x":2},"a":[1.50,"1.50"]}', '[1,"1",true,"true",null,"null"]'),
    *(
        '{"a\\u0062":1,"ab\\n":2}',
        '{"𝄞":1,"zz":2,"zzz":3,"zzzz":4}',
        "[" * 400 + "]" * 400,
        '{"a":' * 400 + "1" + "}" * 400,
    ),
    *("[" * 3000 + "]" * 3000, '{"a":' * 3000 + "1" + "}" * 3000),
]
REFUSED = [
    *("", " ", "NaN", "[NaN]", "Infinity", "-Infinity", "-", "+1", "01", "1.", ".5", "1e", "1e+", "0x10", "1_0", "١"),
    *(
        "tru",
        "nul",
        "[1,]",
        "[1,2",
        '{"a":}',
        "{a:1}",
        "'a'",
        "[1]x",
        "1 2",
        '"abc',
        '"\x01"',
        '"a\nb"',
        '"\\x"',
        '"\\u12"',
    ),
    *(
        '"\\u0000"',
        '["\\\\\\u0000"]',
        '{"\\u0000":1}',
        '"\\ud800"',
        '"\\udc00\\ud800"',
        '{"\\ud800":1}',
        "\ufeff1",
        "\xa01",
    ),
    *("1e131072", "10e131071", "1e-16384", "0e-16384", "1e99999999999", "0." + "0" * 16_383 + "1", "1" * 131_073),
]


@pytest.fixture(scope="module")
def server(postgres_server: Any) -> Iterator[psycopg.Connection[Any]]:
    """A connection on which JSON can be cast."""
    with psycopg.connect(postgres_server.admin, autocommit=True) as connection:
        yield connection


def printed(server: psycopg.Connection[Any], text: str) -> str | None:
    """What the server prints for the text as jsonb; None when it refuses it."""
    try:
        return str(server.execute("SELECT %s::text::jsonb::text", [text]).fetchall()[0][0])
    except psycopg.errors.DataError:
        return None


@pytest.mark.parametrize("text", KEPT, ids=lambda t: t[:30])
def test_text_that_jsonb_keeps_is_written_as_the_server_prints_it(server: psycopg.Connection[Any], text: str) -> None:
    assert jsonb_text(text) == printed(server, text)


@pytest.mark.parametrize("text", REFUSED, ids=lambda t: ascii(t[:30]))
def test_text_that_the_server_refuses_is_refused(server: psycopg.Connection[Any], text: str) -> None:
    assert printed(server, text) is None
    with pytest.raises(NotJsonb):
        jsonb_text(text)


@pytest.mark.parametrize("text", ['{"a":1,"a":1}', '{"a":1,"\\u0061":2}', '[{"b":{"x":1,"y":2,"x":3}}]'])
def test_a_repeated_key_is_refused_although_the_server_would_forget_one(
    server: psycopg.Connection[Any], text: str
) -> None:
    assert printed(server, text) is not None
    with pytest.raises(NotJsonb, match="repeated key"):
        jsonb_text(text)


def test_nesting_beyond_any_use_is_refused_and_known_to_be_extreme() -> None:
    text = "[" * 100 * DEEPEST + "]" * 100 * DEEPEST
    assert is_extreme(text)
    with pytest.raises(NotJsonb, match="nested too deeply"):
        jsonb_text(text)


def test_only_text_near_a_limit_is_extreme() -> None:
    assert is_extreme("[1e99999]")
    assert is_extreme("9" * 1000)
    assert not is_extreme('{"a": [1e300, -2.5e-10], "b": "2024-01-01"}')


def test_more_shapes_of_objects_than_are_remembered_change_nothing() -> None:
    for i in range(12_000):
        assert jsonb_text(f'{{"k{i}":1,"a":2}}') == f'{{"a": 2, "k{i}": 1}}'


numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,12})(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
strings = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers.map(lambda n: ("number", n)), strings),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(strings, inner, max_size=5),
    max_leaves=20,
)
spaces = st.sampled_from(["", "", " ", "\n", "\t \r"])


@st.composite
def documents(draw: st.DrawFn) -> str:
    """JSON text in any of its spellings."""
    return draw(spaces) + _spelled(draw, draw(values)) + draw(spaces)


def _spelled(draw: st.DrawFn, value: Any) -> str:
    space = draw(spaces)
    match value:
        case ("number", str(text)):
            return str(text)
        case list():
            return "[" + space + f"{space},".join(_spelled(draw, v) for v in value) + "]"
        case dict():
            pairs = (f"{_string(draw, k)}{space}:{_spelled(draw, v)}" for k, v in value.items())
            return "{" + f",{space}".join(pairs) + space + "}"
        case str():
            return _string(draw, value)
    return json.dumps(value)


def _string(draw: st.DrawFn, value: str) -> str:
    return json.dumps(value, ensure_ascii=draw(st.booleans()))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=documents())
def test_any_document_is_written_as_the_server_prints_it(server: psycopg.Connection[Any], text: str) -> None:
    expected = printed(server, text)
    try:
        assert jsonb_text(text) == expected
    except NotJsonb:
        assert expected is None


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(st.sampled_from('{}[],:" \\u0019aeE.+-tfn\n1ru'), max_size=14))
def test_broken_documents_are_refused_like_the_server_does(server: psycopg.Connection[Any], text: str) -> None:
    expected = printed(server, text)
    try:
        written = jsonb_text(text)
    except NotJsonb:
        # What else is refused: keys that the server would merge.
        assert expected is None or text.count('"') >= 4
    else:
        assert written == expected
