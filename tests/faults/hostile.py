"""Strings that mean something to what they pass through, and the places where one may do harm.

A string with a line break goes on with FORGED: where it begins a line, somebody's text passed for the product's own.
"""

from __future__ import annotations

import unicodedata
from html.parser import HTMLParser

HOSTILE: dict[str, str] = {
    "quotes": """it's "quoted" `twice` [x]""",
    "a quote at the end": 'x"',
    "SQL": "x'; DROP TABLE migration.runs; --",
    "SQL comment": "/* x */ -- y",
    "percent": "100% %s %(x)s %%",
    "braces": "{} {0} {x!r} {{ 7*7 }} {% raw %} ${x}",
    "parent folders": "../../../etc/passwd",
    "line break": "new\nFORGED line",
    "line breaks": "a\r\nFORGED\rFORGED",
    "script": "<script>alert(1)</script>",
    "attribute": "\"'><img src=x onerror=alert(1)>",
    "end of a comment": "--> ]]> </style></title></pre></table>",
    "entities": "&lt;b&gt; &amp; &#60;i&#62; &quot;",
    "terminal": "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "terminal in 8 bits": "\x9b2J\x85FORGED",
    "controls": "".join(map(chr, range(1, 32))) + "\x7f",
    "backspaces": "safe\b\b\b\bevil",
    "written right to left": "\u202egpj.exe\u2066x",
    "does not show": "a\u200bb\ufeff\u00ad",
    "line separators": "a\u2028FORGED b\u2029FORGED",
    "like NUL": "\\0 \\x00 %00 \u2400",
    "shell": "$(touch pwned) `touch pwned` ; touch pwned & | touch pwned > pwned",
    "shell quote": "'; touch pwned; '",
    "globs": "* ? [a-z] ~ !x",
    "option": "-rf",
    "markdown": "**b** [x](javascript:alert) | cell | `code` ![i](x) # h",
    "63 bytes": "x" * 63,
    "64 bytes": "x" * 64,
    "characters across the 63rd byte": "é" * 40,
    "hundreds of bytes": "y" * 300,
    "keyword": "select",
    "role": "current_user",
    "column of the system": "ctid",
    "schema": "pg_catalog.pg_class",
    "letter case": "CaSe",
    "a space": " ",
    "spaces around": "  x  ",
    "backslash": "\\",
    "dollars": "$1 $$ $tag$ :name ?1 @x",
    "log markers": "::group::x ::endgroup::",
    "YAML": "- a: !!python/object/apply:os.system ['x'] # &a *b",
    "YAML's words": "null",
    "JSON": '{"a": "\\u0000"}',
    "COPY": "\\.\tx\\N",
    "address": "postgresql://user:secret@host/db?x=1",
    "number": "1e3",
    "emoji": "👩‍👩‍👧 é",
    "no character": "\ufdd0\uffff\U0010ffff\ue000",
    "a digit": "0",
    "digits of another script": "١٢٣",
}  # fmt: skip

_OBEYED = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))


def harm_in_lines(text: str) -> str:
    """What of a text of several lines a terminal would obey or hide, or that begins a line of its own; '' for none."""
    for line in text.split("\n"):
        if line.lstrip(" -").startswith("FORGED"):
            return f"a line that a value made: {line!r}"
        if found := {c for c in line if unicodedata.category(c) in _OBEYED}:
            return f"{sorted(found)!r} in {line[:200]!r}"
    return ""


class Parsed(HTMLParser):
    """What a browser would make of a page: its elements with their attributes, and its texts."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.made: set[tuple[str, str]] = set()
        self.addresses: set[str] = set()
        self.texts: list[str] = []
        self.code: list[str] = []
        self._in: str = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.made |= {(tag, ""), *((tag, name) for name, _ in attrs)}
        self.addresses |= {v or "" for name, v in attrs if name in ("href", "src", "action", "style")}
        self._in = tag

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        (self.code if self._in in ("script", "style") else self.texts).append(data)

    def handle_comment(self, data: str) -> None:
        self.made.add(("a comment", ""))
