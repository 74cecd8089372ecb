"""The report for a terminal: plain aligned text that reads the same when it is piped into a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from migration.report.facts import Difference, QuarantinedRow, Report, TableFacts
from migration.report.timeline import timeline
from migration.report.verdict import Verdict, eventless, remarks, table_state, verdict
from migration.report.words import (
    balance,
    cells,
    counted,
    difference_kind,
    differing,
    duration,
    rate,
    restore_command,
    seconds,
    settings,
    shown,
    size,
    visible,
    when,
    wrapped,
)

FIRST = 10
"""So many quarantined rows and differences are shown."""
MANY = 40
"""From so many tables on, those that were empty and are fine share one line."""
REASONS = 20

_COLORS = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}


class _Paint:
    """Wraps text in ANSI colors, or leaves it as it is."""

    def __init__(self, on: bool) -> None:
        self.on = on

    def __call__(self, text: str, *names: str) -> str:
        codes = ";".join(_COLORS[n] for n in names)
        return f"\x1b[{codes}m{text}\x1b[0m" if self.on and text and names else text


def as_text(report: Report, width: int = 100, color: bool = False, html: Path | None = None) -> str:
    """The report in lines of ``width`` columns; only paths, digests and commands may be longer.

    ``html`` is where the full report lies, as :func:`produce` returned it. Without ``color`` the text has no
    control character but the line feed, whatever the data holds.
    """
    paint, decided = _Paint(color), verdict(report)
    parts = [
        _head(report, decided, width, paint),
        _tables(report, width, paint),
        _verdict(report, decided, width, paint),
        _failed_steps(report, width, paint),
        _quarantined(report, width, paint),
        _altered(report, width, paint),
        _differences(report, width, paint),
        _notes(report, width, paint),
        _where(report, html, paint),
    ]
    return "\n\n".join("\n".join(part) for part in (list(p) for p in parts) if part) + "\n"


def _head(report: Report, decided: Verdict, width: int, paint: _Paint) -> Iterator[str]:
    status = decided.status
    *above, title = wrapped(f"{report.title}: migration report", width - cells(status) - 2)
    yield from (paint(line, "bold") for line in above)
    yield (paint(title, "bold") + " " * (width - cells(title) - cells(status)) + paint(status, _hue(decided), "bold"))
    yield paint("─" * width, "dim")
    line = timeline(report)
    took = f", {duration(line.worked)} of work" if line.worked else ""
    if line.elapsed - line.worked > 10:
        took += f" within {duration(line.elapsed)}"
    facts = [
        ("Run", report.run_id),
        ("From", report.source),
        ("Into", f"schema {report.live} (by way of {report.staging})"),
        ("Started", when(report.started_at) + took),
        ("Parameters", settings(dict(report.params))),
        ("Approval", settings(dict(report.approval))),
        ("Cut over", when(report.cut_over_at) if report.cut_over_at else ""),
        ("Rolled back", when(report.rolled_back_at) if report.rolled_back_at else ""),
    ]
    for name, fact in facts:
        if fact:
            yield from _indented(fact, width, f"{name:<12}")


def _indented(text: str, width: int, first: str, rest: str | None = None) -> Iterator[str]:
    """``text`` wrapped behind ``first``, and its further lines behind ``rest`` (else blanks)."""
    rest = " " * len(first) if rest is None else rest
    lines = wrapped(text, width - max(len(first), len(rest)))
    return (start + line for start, line in zip([first, *[rest] * len(lines)], lines, strict=False))


def _hue(decided: Verdict) -> str:
    return "green" if decided.success else "yellow" if decided.label != "FAILED" else "red"


def _tables(report: Report, width: int, paint: _Paint) -> Iterator[str]:
    excluded, altered = report.total("excluded"), report.total("altered")
    head = [("", "table"), ("source", "rows"), ("", "loaded"), ("quaran-", "tined")]
    head += [("", "excluded")] if excluded else []
    head += [("", "altered")] if altered else []
    head += [("verified", "values"), ("load", "seconds"), ("", "MB/s"), ("", "state")]
    folded = [t for t in report.tables if eventless(report, t)] if len(report.tables) > MANY else []
    hidden = {t.name for t in folded}
    rows = [_row(report, t, bool(excluded), bool(altered)) for t in report.tables if t.name not in hidden]
    total = _total_row(report, bool(excluded), bool(altered))
    widths = [max(cells(line[i]) for line in (*zip(*head, strict=True), *rows, total)) for i in range(len(head))]
    room = width - sum(widths[1:]) - 2 * (len(widths) - 1)
    widths[0] = min(widths[0], max(room, 8))
    for titles in zip(*head, strict=True):
        yield paint(_aligned(titles, widths), "dim")
    for row in rows:
        if cells(row[0]) > widths[0]:
            yield row[0]
            row[0] = ""
        line, state = _aligned(row, widths), row[-1]
        good = "green" if state == "verified" else "red"
        yield line[: len(line) - len(state)] + paint(state, good)
    if folded:
        yield paint(f"and {counted(len(folded), 'empty table')}, verified", "dim")
    yield paint("─" * (sum(widths) + 2 * (len(widths) - 1)), "dim")
    yield paint(_aligned(total, widths), "bold")


def _row(report: Report, table: TableFacts, excluded: bool, altered: bool) -> list[str]:
    load, verified = table.load, table.verified
    if load is None:
        numbers = ["–"] * (3 + excluded + altered)
        times = ["–", "–"]
    else:
        numbers = [f"{n:,}" for n in (load.source_rows, load.loaded, load.quarantined)]
        numbers += [f"{load.excluded:,}"] if excluded else []
        numbers += [f"{load.altered:,}"] if altered else []
        times = [seconds(load.seconds), rate(load.rate)]
    state = visible(table_state(report, table))
    return [visible(table.name), *numbers, f"{verified.values:,}" if verified else "–", *times, state]


def _total_row(report: Report, excluded: bool, altered: bool) -> list[str]:
    taken = sum(load.seconds for load in report.loads)
    names = ["source_rows", "loaded", "quarantined", *(["excluded"] * excluded), *(["altered"] * altered)]
    speed = report.total("bytes") / taken / 1e6 if taken and report.total("bytes") else None
    planned = sum(t.planned for t in report.tables)
    done = sum(1 for t in report.tables if t.planned and table_state(report, t) == "verified")
    return [
        f"{counted(len(report.tables), 'table')}",
        *(f"{report.total(n):,}" for n in names),
        f"{report.values:,}",
        seconds(taken),
        rate(speed),
        f"{done} of {planned}",
    ]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    """Names to the left, numbers to the right, the state last and to the left."""
    padded = [row[0] + " " * (widths[0] - cells(row[0]))]
    padded += [" " * (w - cells(c)) + c for c, w in zip(row[1:-1], widths[1:-1], strict=True)]
    return "  ".join([*padded, row[-1]]).rstrip()


def _verdict(report: Report, decided: Verdict, width: int, paint: _Paint) -> Iterator[str]:
    yield from _indented(balance(report), width, f"{'Balance':<12}")
    for line in _indented(f"{decided.label}: {decided.summary}", width, f"{'Verdict':<12}"):
        yield line[:12] + paint(line[12:], _hue(decided), "bold")
    for reason in decided.reasons[:REASONS]:
        yield from _indented(reason, width, f"{'':<12}- ")
    if len(decided.reasons) > REASONS:
        yield f"{'':<12}and {len(decided.reasons) - REASONS:,} more reasons, in the full report"


def _section(title: str, paint: _Paint, shown_rows: int = 0, total: int = 0) -> str:
    part = f" (the first {shown_rows:,} of {total:,})" if total > shown_rows else f" ({total:,})" if total else ""
    return paint(title, "bold") + part


def _failed_steps(report: Report, width: int, paint: _Paint) -> Iterator[str]:
    failed = [s for s in report.steps if s.status == "failed"]
    if failed:
        yield _section("Failed steps", paint)
    for step in failed:
        ended = f", {when(step.finished_at)}" if step.finished_at else ""
        yield from (paint(line, "red") for line in _indented(step.label + ended, width, "  "))
        for line in (step.message or "(no message was recorded)").split("\n"):
            yield from _indented(line, width, "    " + " " * (len(line) - len(line.lstrip(" "))))


def _quarantined(report: Report, width: int, paint: _Paint) -> Iterator[str]:
    total = sum(t.quarantine_held for t in report.tables)
    if total:
        yield _section("Quarantined rows", paint, min(FIRST, len(report.quarantined)), total)
    for row in report.quarantined[:FIRST]:
        yield from _quarantined_row(row, width, paint)


def _quarantined_row(row: QuarantinedRow, width: int, paint: _Paint) -> Iterator[str]:
    yield from _indented(f"{row.table} {row.key}, column {row.column}: {row.reason}", width, "  ", "    ")
    value = row.value
    kind = f" ({visible(value.storage_class)}, {size(value.size)})" if value and value.head is not None else ""
    lines = wrapped(shown(value), width - 4 - len(kind))
    yield f"    {lines[0]}{'…' if len(lines) > 1 else ''}{paint(kind, 'dim')}"


def _altered(report: Report, width: int, paint: _Paint) -> Iterator[str]:
    total = sum(t.altered_held for t in report.tables)
    if total:
        yield _section("Values altered because the plan declares it", paint)
    for kind in report.altered_kinds[:FIRST]:
        yield from _indented(f"{kind.table}.{kind.column}: {counted(kind.count, 'value')}, {kind.rule}", width, "  ")


def _differences(report: Report, width: int, paint: _Paint) -> Iterator[str]:
    total = report.differences_found
    if total:
        yield _section(
            "Differences between the snapshot and the target",
            paint,
            min(FIRST, len(report.differences)),
            total,
        )
    for difference in report.differences[:FIRST]:
        yield from _difference(difference, width)


def _difference(difference: Difference, width: int) -> Iterator[str]:
    column = f", column {difference.column}" if difference.column else ""
    what = f"{difference.table} {difference.key}{column}: {difference_kind(difference)}"
    yield from _indented(what, width, "  ", "    ")
    if difference.source_value is None and difference.target_value is None:
        return
    source, target = differing(difference, width - 20)
    yield f"    snapshot  {wrapped(source, width - 14)[0]}"
    yield f"    target    {wrapped(target, width - 14)[0]}"


def _notes(report: Report, width: int, paint: _Paint) -> Iterator[str]:
    notes = remarks(report)
    if notes:
        yield _section("To know", paint)
    for note in notes[:FIRST]:
        yield from _indented(note, width, "  - ")
    if len(notes) > FIRST:
        yield f"  and {len(notes) - FIRST:,} more, in the full report"


def _where(report: Report, html: Path | None, paint: _Paint) -> Iterator[str]:
    if report.snapshot:
        known = f" ({size(report.snapshot.size)})" if report.snapshot.size is not None else ""
        yield f"{paint('Snapshot', 'bold')}    {visible(report.snapshot.path)}{known}"
        yield f"            sha256 {visible(report.snapshot.sha256)}"
    if html:
        yield f"{paint('Report', 'bold')}      {visible(str(html))}"
        yield f"            {visible(str(html.with_suffix('.json')))}"
    if command := restore_command(report):
        yield ""
        title = paint("Restore", "bold")
        yield f"{title} (checks the snapshot and copies it beside the source; writes over nothing)"
        yield from (f"  {visible(line)}" for line in command.splitlines())
