"""Values checked before they are sent: PostgreSQL rounds some that do not fit, and names no column for others."""

import json
import re
from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, TypeAlias

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Integer,
    Numeric,
    SmallInteger,
    SQLColumnExpression,
    String,
    any_,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from widgettdc.errors import BadReference, Invalid, TooLong
from widgettdc.models import Base

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None


class Unset(Enum):
    """The type of UNSET."""

    UNSET = "unset"


UNSET = Unset.UNSET
"""An argument that was not given, where None means NULL."""

_JSON_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def checked(model: type[Base], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a row by column, without those that are UNSET; Invalid or TooLong names the column."""
    given = {name: value for name, value in values.items() if value is not UNSET}
    columns = Base.metadata.tables[model.__tablename__].c
    for name, value in given.items():
        _check(columns[name], value)
    return given


def _check(column: Column[Any], value: Any) -> None:
    if value is None:
        if not column.nullable:
            raise Invalid(column.name, "a value is needed.")
        return
    for kind, check in _CHECKS:
        if isinstance(column.type, kind):
            check(column, value)
            break


def _text(column: Column[Any], value: Any) -> None:
    _is_a(column, value, str)
    _storable(column.name, value)
    limit = column.type.length  # type: ignore[attr-defined]
    if limit is not None and len(value) > limit:
        raise TooLong(column.name, limit, len(value))


def _storable(name: str, text: str) -> None:
    if "\0" in text:
        raise Invalid(name, "a NUL, which PostgreSQL's text cannot hold.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Invalid(name, f"{error.object[error.start : error.end]!r} is a half of a surrogate pair.") from error


def _whole(column: Column[Any], value: Any) -> None:
    _is_a(column, value, int)
    most = 2**15 if isinstance(column.type, SmallInteger) else 2**31
    if isinstance(value, bool) or not -most <= value < most:
        raise Invalid(column.name, f"{value} is not a whole number from {-most} to {most - 1}.")


def _exact(column: Column[Any], value: Any) -> None:
    _is_a(column, value, (Decimal, int))
    digits, places = column.type.precision, column.type.scale  # type: ignore[attr-defined]
    number = Decimal(value)
    if not number.is_finite() or abs(number) >= 10 ** (digits - places) or number != round(number, places):
        raise Invalid(column.name, f"{value} is not a number of at most {digits} digits, {places} after the point.")


def _instant(column: Column[Any], value: Any) -> None:
    _is_a(column, value, datetime)
    if value.utcoffset() is None:
        raise Invalid(column.name, f"{value} has no time zone.")


def _json(column: Column[Any], value: Any) -> None:
    if value is JSONB.NULL:
        return
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        same = json.loads(text) == value  # not so for tuples and for keys that are no strings
    except (TypeError, ValueError, RecursionError) as error:
        raise Invalid(column.name, f"no JSON: {error}.") from error
    if not same:
        raise Invalid(column.name, "read again, this JSON would be another value. Use lists, and strings as keys.")
    _storable(column.name, _JSON_NUL.sub("\0", text))


def _is_a(column: Column[Any], value: Any, kind: type | tuple[type, ...]) -> None:
    if not isinstance(value, kind):
        raise Invalid(column.name, f"a {type(value).__name__} is of no use here.")


_CHECKS = ((String, _text), (Integer, _whole), (Numeric, _exact), (DateTime, _instant), (JSONB, _json))


def check_span(start: datetime, end: datetime) -> None:
    """Invalid unless both have a time zone and the end comes after the start."""
    for name, value in (("start", start), ("end", end)):
        if value.utcoffset() is None:
            raise Invalid(name, f"{value} has no time zone.")
    if end <= start:
        raise Invalid("end", f"{end} does not come after {start}.")


def among(key: SQLColumnExpression[int], ids: Collection[int]) -> ColumnElement[bool]:
    """That the key is one of these ids: one parameter, so one prepared statement for any number of them."""
    return key == any_(literal(sorted(ids), ARRAY(Integer)))


def check_references(connection: Connection, name: str, model: type[Base], ids: Collection[int]) -> None:
    """BadReference unless these rows are there; they stay there until the transaction ends.

    For the references that the schema does not declare. The rows are locked in the order of their ids, as deletes lock
    them, so that no two transactions wait for each other.
    """
    key = Base.metadata.tables[model.__tablename__].c.id
    rows = select(key).where(among(key, ids)).order_by(key).with_for_update(read=True, key_share=True)
    if missing := set(ids) - set(connection.scalars(rows)):
        raise BadReference(name, model.__tablename__, tuple(sorted(missing)))
