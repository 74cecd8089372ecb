"""How the report's data and times are shown to people, by the words that all of the engine has."""

from __future__ import annotations

import codecs
import re
import shlex
import unicodedata
from datetime import UTC, datetime

from migration.report.facts import Difference, Report, Value
from migration.words import counted as counted
from migration.words import duration as duration
from migration.words import pieces as pieces
from migration.words import seconds as seconds
from migration.words import size as size
from migration.words import visible as visible

BLOB_BYTES = 48
"""So many bytes of a blob are shown."""


def shown(value: Value | None) -> str:
    """A value as text, or as hexadecimal digits when it is a blob; escapes are left to :func:`visible`."""
    if value is None:
        return "(not kept)"
    if value.head is None:
        return "NULL"
    if value.storage_class == "blob":
        return f"x'{value.head[:BLOB_BYTES].hex()}{'…' if value.size > BLOB_BYTES else ''}'"
    if not value.head:
        return "(empty text)"
    # The head may end within a character, which is left out then.
    text = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(value.head, final=not value.cut)
    return text + ("…" if value.cut else "")


def difference_kind(difference: Difference) -> str:
    """What kind of difference it is, in words."""
    return {
        "missing": "the row is missing in the target",
        "extra": "the target has a row that the snapshot has not",
        "changed": "changed",
    }.get(difference.kind, difference.kind)


def differing(difference: Difference, width: int = 160) -> tuple[str, str]:
    """The snapshot's and the target's value, cut to ``width`` characters about where they part."""
    values = (difference.source_value, difference.target_value)
    first, second = (value or "" for value in values)
    pairs = enumerate(zip(first, second, strict=False))
    part = next((place for place, (a, b) in pairs if a != b), min(len(first), len(second)))
    start = max(0, min(part - 24, max(len(first), len(second)) - width))

    def cut(text: str | None) -> str:
        if text is None:
            return "NULL" if difference.kind == "changed" else "(none)"
        before, after = ("…" if start else ""), ("…" if len(text) > start + width else "")
        return before + text[start : start + width] + after

    return cut(values[0]), cut(values[1])


def cells(text: str) -> int:
    """How many columns of a terminal ``text`` takes."""
    return sum(
        0 if unicodedata.category(c) in ("Mn", "Me") else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1
        for c in text
    )


def wrapped(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` columns, broken at spaces where there are any."""
    lines, line = [], ""
    for word in re.findall(r"\S+\s*", visible(text)):
        if line and cells((line + word).rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        for character in word:
            if not character.isspace() and cells(line + character) > width:
                lines.append(line)
                line = ""
            line += character
    return [*lines, line.rstrip()] if line else lines or [""]


def when(moment: datetime) -> str:
    """A moment to the second, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def rate(number: float | None) -> str:
    """MB/s, or a dash where nothing was measured."""
    return "–" if number is None else f"{number:,.1f}"


def shell(word: str) -> str:
    """``word`` as one word of a shell line that can be copied from a terminal, whatever it holds."""
    if word.isprintable():
        return shlex.quote(word)
    # $'…' of bash, zsh and POSIX.1-2024: the bytes of what is not printable in octal.
    octal = "".join(
        c if c.isprintable() and c not in "\\'" else "".join(f"\\{b:03o}" for b in c.encode(errors="surrogateescape"))
        for c in word
    )
    return f"$'{octal}'"


def restore_command(report: Report) -> str | None:
    """Shell lines that check the snapshot and copy it beside the source; None without a snapshot.

    They need nothing of this product, and never write over a file: ``set -C`` refuses one that exists.
    """
    if report.snapshot is None or not report.source:
        return None
    return (
        f"snapshot={shell(report.snapshot.path)}\n"
        f"sha256={shell(report.snapshot.sha256)}\n"
        'test "$(sha256sum < "$snapshot")" = "$sha256  -" &&\n'
        f'(set -C; cat < "$snapshot" > {shell(report.source + ".restored")})'
    )


def settings(facts: dict[str, object]) -> str:
    """A flat mapping in words: ``mode rehearsal, rows per block 8192``."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())


def balance(report: Report) -> str:
    """The balance over all tables that were loaded, as an equation in words."""
    source, loaded, quarantined, excluded = (
        report.total(name) for name in ("source_rows", "loaded", "quarantined", "excluded")
    )
    sign = "=" if source == loaded + quarantined + excluded else "≠"
    there, all_of_them = len(report.loads), len(report.tables)
    part = f", in {there:,} of {counted(all_of_them, 'table')}" if there < all_of_them else ""
    return (
        f"{counted(source, 'source row')} {sign} {loaded:,} loaded + {quarantined:,} quarantined "
        f"+ {excluded:,} excluded{part}"
    )
