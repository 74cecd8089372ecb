"""The report in short, for the person who decides about the cut-over: verdict, balance, tables."""

from __future__ import annotations

import re
from collections.abc import Iterator

from migration.report.facts import Report
from migration.report.verdict import READY, eventless, remarks, table_state, verdict
from migration.report.words import balance, counted, visible

TABLES = 40
"""So many tables are listed; those that were empty and are fine give way first."""
SENTENCES = 20


def as_markdown(report: Report) -> str:
    """A few paragraphs and a table (GitHub's Markdown); data in it is escaped, so that it shows as it is."""
    return "\n\n".join(_paragraphs(report)) + "\n"


def _paragraphs(report: Report) -> Iterator[str]:
    decided = verdict(report)
    # That it is not cut over yet is no news to the person who is asked whether to.
    reasons = () if decided.proven else decided.reasons
    label = "READY TO CUT OVER" if decided.status == READY else decided.label
    yield f"**{label}** ({plain(decided.status)}): {plain(decided.summary)}"
    yield f"**Balance:** {balance(report)}"
    for sentences in (reasons, remarks(report)):
        more = [f"and {len(sentences) - SENTENCES:,} more"] if len(sentences) > SENTENCES else []
        if sentences:
            yield "\n".join(f"- {plain(s)}" for s in [*sentences[:SENTENCES], *more])
    yield "\n".join(_tables(report))


def _tables(report: Report) -> Iterator[str]:
    yield "| table | source rows | loaded | quarantined | altered | verified values | state |"
    yield "|---|--:|--:|--:|--:|--:|---|"
    ranked = sorted(report.tables, key=lambda t: eventless(report, t)) if len(report.tables) > TABLES else report.tables
    for table in ranked[:TABLES]:
        load, verified = table.load, table.verified
        counts = (load.source_rows, load.loaded, load.quarantined, load.altered) if load else [None] * 4
        numbers = [*counts, verified.values if verified else None]
        cells = " | ".join("–" if n is None else f"{n:,}" for n in numbers)
        yield f"| {plain(table.name)} | {cells} | {plain(table_state(report, table))} |"
    if len(ranked) > TABLES:
        yield f"| and {counted(len(ranked) - TABLES, 'more table')} | | | | | | |"


def plain(text: str) -> str:
    """``text`` as Markdown that shows it: ASCII punctuation may be escaped (CommonMark, section 2.4)."""
    return re.sub(r"([\\`*_{}\[\]<>|~&:@])", r"\\\1", visible(text))
