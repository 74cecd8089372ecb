"""The report as one HTML page that needs nothing but itself: no script, no font, no image."""

from __future__ import annotations

from datetime import UTC
from os.path import commonprefix
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from migration.report.facts import Difference, Report
from migration.report.timeline import timeline
from migration.report.verdict import remarks, table_state, urgency, verdict
from migration.report.words import (
    counted,
    difference_kind,
    differing,
    duration,
    pieces,
    rate,
    restore_command,
    seconds,
    settings,
    shown,
    size,
    when,
)


def _by_kind(report: Report) -> dict[str, list[str]]:
    """The names of the carried objects."""
    kinds: dict[str, list[str]] = {}
    for made in report.carried:
        kinds.setdefault(made.kind, []).append(f"{made.table}.{made.name}" if made.table else made.name)
    return kinds


def _harmless(fact: object) -> object:
    """Every string that the template prints passes here: escaped for HTML, hidden characters made visible.

    What it returns holds tags and quotes, so data never stands in an attribute of the template.
    """
    if not isinstance(fact, str) or isinstance(fact, Markup):
        return fact
    if fact.isprintable():  # nearly all are; a page of 400 tables takes a third of the time
        return escape(fact)
    return Markup("").join(
        Markup('<span class="esc">{}</span>').format(piece) if hidden else escape(piece)
        for hidden, piece in pieces(fact)
    )


environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    finalize=_harmless,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
environment.filters.update(
    clock=lambda moment: f"{moment.astimezone(UTC):%m-%d %H:%M:%S}", number=lambda n: f"{n:,}",
    counted=counted, duration=duration, rate=rate, seconds=seconds, settings=settings, shown=shown, size=size,
    when=when,
)  # fmt: skip


def _marked(row: Difference) -> list[tuple[str, str, str]]:
    """The snapshot's and the target's value, each as (what is common, what differs, what is common again)."""
    first, second = differing(row)
    if row.source_value is None or row.target_value is None:
        return [("", first, ""), ("", second, "")]
    before = len(commonprefix([first, second]))
    after = len(commonprefix([first[before:][::-1], second[before:][::-1]]))
    ends = [len(text) - after for text in (first, second)]
    return [(text[:before], text[before:end], text[end:]) for text, end in zip((first, second), ends, strict=True)]


environment.globals.update(marked=_marked, difference_kind=difference_kind)


def rendered(template: str, **facts: object) -> str:
    """A page of this folder as a file that needs nothing else; every value of the data in it is inert."""
    return environment.get_template(template).render(site=None, **facts)


def as_html(report: Report) -> str:
    """The page of a run as a file that needs nothing else."""
    return rendered("page.html", **shown_facts(report))


def shown_facts(report: Report) -> dict[str, Any]:
    """What ``page.html`` shows; a ``site`` beside it has the addresses of all rows, when the page is served."""
    loads, decided = report.loads, verdict(report)
    taken = sum(load.seconds for load in loads)
    return {
        "report": report,
        "decided": decided,
        "remarks": remarks(report),
        "line": timeline(report),
        "restore": restore_command(report),
        "newline": Markup("\n"),
        "state": lambda table: table_state(report, table),
        "tables": sorted(report.tables, key=lambda table: urgency(report, table)),
        "carried": _by_kind(report),
        "label_says_it": decided.status in (decided.label.lower(), "unfinished"),
        "source_rows": report.total("source_rows"),
        "loaded": report.total("loaded"),
        "quarantined": report.total("quarantined"),
        "excluded": report.total("excluded"),
        "altered": report.total("altered"),
        "sent": report.total("bytes"),
        "taken": taken,
        "speed": report.total("bytes") / taken / 1e6 if taken and report.total("bytes") else None,
        "checked": sum(t.verified.seconds for t in report.tables if t.verified),
        "slowest": max((load.seconds for load in loads), default=0.0),
        "slowest_check": max((t.verified.seconds for t in report.tables if t.verified), default=0.0),
        "fastest": max((load.rate or 0.0 for load in loads), default=0.0),
        "failed": [s for s in report.steps if s.status == "failed"],
    }
