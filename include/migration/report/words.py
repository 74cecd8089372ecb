"""How data, numbers and times are shown to people: every character visible, nothing that could act."""

from __future__ import annotations

import codecs
import re
import shlex
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime

from migration.report.facts import Difference, Report, Value

# Control, format (bidirectional overrides, zero-width), surrogate and separator characters other than the
# space: what a terminal or browser would obey, hide or show as something else.
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp", "Zs"))
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

BLOB_BYTES = 48
"""So many bytes of a blob are shown."""


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, by Python's surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    return _SHORT.get(character) or (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )


def pieces(text: str) -> Iterator[tuple[bool, str]]:
    """``text`` in runs of (is an escape, what to show)."""
    run = ""
    for character in text:
        if character != " " and unicodedata.category(character) in _HIDDEN:
            if run:
                yield False, run
            run = ""
            yield True, _escape(character)
        else:
            run += character
    if run:
        yield False, run


def visible(text: str) -> str:
    """``text`` on one line, with what a terminal would obey or hide written as an escape."""
    return "".join(piece for _, piece in pieces(text))


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


def counted(number: int, one: str, many: str = "") -> str:
    """``1 row``, ``1,200 rows``, ``2 indexes``."""
    return f"{number:,} {one if number == 1 else many or one + ('es' if one.endswith('x') else 's')}"


def when(moment: datetime) -> str:
    """A moment to the second, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def seconds(number: float) -> str:
    """Seconds with the digits that mean something."""
    return f"{number:.2f}" if number < 10 else f"{number:.1f}" if number < 100 else f"{number:,.0f}"


def duration(number: float) -> str:
    """A duration in the units that people use for its size."""
    if number < 60:
        return f"{seconds(number)} s"
    minutes, rest = divmod(round(number), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def size(number: int) -> str:
    """Bytes in the decimal unit that fits."""
    amount, unit = float(number), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{number} B" if unit == "B" else f"{amount:.1f} {unit}"


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
