"""How numbers, names and values are shown to people: every character visible, nothing that could act."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

# Control, format (bidirectional overrides, zero-width), surrogate and separator characters other than the
# space: what a terminal or browser would obey, hide or show as something else.
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp", "Zs"))
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


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


def counted(number: int, one: str, many: str = "") -> str:
    """``1 row``, ``1,200 rows``, ``2 indexes``."""
    return f"{number:,} {one if number == 1 else many or one + ('es' if one.endswith('x') else 's')}"


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
