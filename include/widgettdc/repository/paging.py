"""Bounded pages of results, each beginning where the one before ended (keyset pagination)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeAlias, TypeVar

from sqlalchemy import Connection, Row, Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from widgettdc.errors import Invalid

T = TypeVar("T")
AnyRow: TypeAlias = Row[*tuple[Any, ...]]

LIMIT = 50
MAX_LIMIT = 500

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some results. `next`, given as `after`, asks for those that follow; None at the end."""

    items: tuple[T, ...]
    next: str | None


def page(
    connection: Connection,
    statement: Select[*tuple[Any, ...]],
    make: Callable[[AnyRow], T],
    *keys: InstrumentedAttribute[Any],
    limit: int,
    after: str | None,
    newest_first: bool = False,
) -> Page[T]:
    """The next `limit` results in the order of `keys`, whose last is unique: rows made meanwhile shift no page.

    The made records have attributes of the keys' names. Invalid for a limit out of bounds and for an `after` that no
    page gave.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid("limit", f"{limit} is not from 1 to {MAX_LIMIT}.")
    if after is not None:
        place = tuple_(*_place(after, keys))
        statement = statement.where(tuple_(*keys) < place if newest_first else tuple_(*keys) > place)
    order = [key.desc() for key in keys] if newest_first else keys
    items = tuple(map(make, connection.execute(statement.order_by(*order).limit(limit + 1))))
    if len(items) <= limit:
        return Page(items, None)
    return Page(items[:limit], ".".join(str(_number(getattr(items[limit - 1], key.key))) for key in keys))


def _number(value: datetime | int) -> int:
    return (value - _EPOCH) // _MICROSECOND if isinstance(value, datetime) else value


def _place(after: str, keys: tuple[InstrumentedAttribute[Any], ...]) -> list[datetime | int]:
    try:
        return [
            _EPOCH + int(part) * _MICROSECOND if key.type.python_type is datetime else int(part)
            for key, part in zip(keys, after.split("."), strict=True)
        ]
    except (ValueError, OverflowError) as error:
        raise Invalid("after", f"{after!r} is not the `next` of a page of this kind.") from error
