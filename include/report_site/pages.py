"""Makes the pages, their addresses (each relative to the others), and the headers that keep them to their reader."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote, urlencode

import jinja2
from fastapi.responses import HTMLResponse, Response
from markupsafe import Markup, escape

import migration.report
from migration.report import Report
from migration.report.facts import Kind, QuarantinedRow
from migration.report.page import environment

# Whatever a page shows stays with the one who is logged in; a file of it is no page of this site.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_pages = environment.overlay(
    loader=jinja2.FileSystemLoader([Path(__file__).parent, Path(migration.report.__file__).parent])
)


def address(path: str, **query: str | int | None) -> Markup:
    """A link to a page of the site (or of Airflow above it), safe within an attribute."""
    given = urlencode({name: value for name, value in query.items() if value is not None})
    return escape(f"{path}?{given}" if given else path)


def dag_run_address(dag_id: str, run_id: str) -> Markup:
    """Airflow's own page of a run."""
    return escape(f"../dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}")


@dataclass(frozen=True)
class Site:
    """What a served page knows that a file does not: where the others are."""

    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    all: Markup = Markup("./")


@dataclass(frozen=True)
class RunSite(Site):
    """The pages of one run."""

    dag_id: str = ""
    run_id: str = ""

    def page(self, path: str, **query: str | int | None) -> Markup:
        """A page of this run."""
        return address(path, dag_id=self.dag_id, run_id=self.run_id, **query)

    @property
    def here(self) -> Markup:
        """The report."""
        return self.page("run")

    @property
    def dag_run(self) -> Markup:
        """Airflow's own page of the run."""
        return dag_run_address(self.dag_id, self.run_id)

    def file(self, name: str) -> Markup:
        """``report.html`` or ``report.json``."""
        return self.page(name)

    def rows(self, what: str, table: str) -> Markup:
        """The pages of ``quarantine``, ``altered`` or ``differences`` of one table."""
        return self.page(what, table=table)

    def kind(self, what: str) -> Callable[[Kind], Markup]:
        """The same of one column and rule."""
        return lambda kind: self.page(what, table=kind.table, column=kind.column, rule=kind.rule)

    def whole(self, row: QuarantinedRow) -> Markup:
        """A row with all its values."""
        return self.page("quarantine", table=row.table, key=row.key)


def page(template: str, site: Site, status: int = 200, **facts: object) -> Response:
    """A page by a template of this folder or the report's, whose scripts and styles are its own alone."""
    policy = (
        f"default-src 'none'; script-src 'nonce-{site.nonce}'; style-src 'nonce-{site.nonce}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )
    html = _pages.get_template(template).render(site=site, **facts)
    return HTMLResponse(html, status, HEADERS | {"Content-Security-Policy": policy})


def download(content: str, report: Report, kind: str, media_type: str) -> Response:
    """A file that a browser saves; its name is made of the run's, whatever that holds."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", report.run_id)[:60]
    name = f"{report.plan}-{readable}-{sha256(report.run_id.encode()).hexdigest()[:8]}.{kind}"
    return Response(
        content, media_type=media_type, headers=HEADERS | {"Content-Disposition": f'attachment; filename="{name}"'}
    )
