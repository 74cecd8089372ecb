"""How the engine's logs, errors and figures appear in Airflow: details folded, a failure as the last words, metrics."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from migration import telling
from migration.errors import MigrationError, TransientError
from migration.words import visible

log = logging.getLogger("migration")
folds = logging.getLogger("migration.detail")

_MARKER = re.compile("::(?=(end)?group::)")


class Ended(SystemExit):
    """Ends a task whose failure has been told: of a SystemExit Airflow prints no traceback below what was said last."""

    def __init__(self, error: MigrationError) -> None:
        super().__init__(str(error))
        self.code = 1


class EndedForNow(Ended):
    """The same, where trying again may help."""


@contextmanager
def told() -> Iterator[None]:
    """Around a step of the engine: its details are folded, and its error is logged as a sentence and ends the task."""
    shown, filters = telling.show_detail, list(log.filters)
    telling.show_detail = _folded
    log.addFilter(_unmarked)
    try:
        yield
    except MigrationError as error:
        log.debug("Where it was raised:", exc_info=error)
        log.error("%s", telling.sentence(str(error)))
        raise (EndedForNow if isinstance(error, TransientError) else Ended)(error) from error
    finally:
        telling.show_detail, log.filters = shown, filters


def _folded(title: str, text: str) -> None:
    folds.info("::group::%s", _without_markers(title))
    folds.info("%s", _without_markers(text))
    folds.info("::endgroup::")


def _unmarked(record: logging.LogRecord) -> bool:
    record.msg, record.args = _without_markers(record.getMessage()), None
    return True


def _without_markers(text: str) -> str:
    """Airflow looks for the markers of folds anywhere in a line, and names and values may hold anything."""
    return _MARKER.sub(": :", text)


METRICS = {
    "load": {"rows": "loaded", "bytes": "bytes", "seconds": "seconds", "quarantined": "quarantined"},
    "verify": {"rows": "rows", "bytes": "bytes", "seconds": "seconds", "differences": "differences"},
}
"""By step, each metric's name and the figure that it shows."""


def measured(plan: str) -> Callable[[str, dict[str, Any]], None]:
    """What sends a table's figures to Airflow's metrics; a failure to do so is no failure of the step."""

    def send(step: str, figures: dict[str, Any]) -> None:
        try:
            _send(plan, step, figures)
        except Exception as error:
            log.warning("%s %s: its metrics were not sent: %r", step, visible(figures["table"]), error)

    return send


def _send(plan: str, step: str, figures: dict[str, Any]) -> None:
    """Gauges ``migration.load.rows`` with tags, and as for Airflow's own metrics, the same by full names without."""
    from airflow.sdk.configuration import conf
    from airflow.sdk.observability import stats

    tags = {"plan": plan, "table": _name(figures["table"])}
    by_name = conf.getboolean("metrics", "legacy_names_on")
    for metric, figure in METRICS[step].items():
        name = f"migration.{step}.{metric}"
        stats.gauge(name, figures[figure], tags=tags)
        if by_name:
            stats.gauge(f"{name}.{tags['plan']}.{tags['table']}", figures[figure])


def _name(table: str) -> str:
    """A table's name as a part of a metric's: short, without the characters that part and end names there."""
    from airflow.sdk.observability.stats import normalize_name_for_stats

    return normalize_name_for_stats(table[:100], log_warning=False).replace(".", "_")
