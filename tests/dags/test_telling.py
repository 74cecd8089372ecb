"""What an operator sees of a task in Airflow: folds that close, the sentence last, and metrics by table."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import RetryAction
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

from glue import bridge
from glue.telling import Ended, EndedForNow, measured, told
from migration import telling
from migration.errors import MigrationError, RejectedRows, TransientError
from tests.dags.stage import REAL, Stage, target_connection
from widgettdc.sample import make_sample

ROOT = Path(__file__).parents[2]
FIGURES = {"source_rows": 9, "loaded": 7, "quarantined": 2, "bytes": 900, "seconds": 0.25}
log = logging.getLogger("migration")


def marks(messages: list[str]) -> list[str]:
    """Where Airflow's page opens and closes folds: it looks for the markers anywhere in a line."""
    return [m for line in messages for m in ("::group::", "::endgroup::") if m in line]


def test_after_a_step_the_engine_speaks_as_on_the_command_line_again() -> None:
    before = telling.show_detail, list(log.filters)
    _step(None)
    with pytest.raises(Ended):
        _step(RejectedRows("no"))
    assert (telling.show_detail, list(log.filters)) == before


@told()
def _step(error: Exception | None, name: str = "t") -> None:
    log.info("load %s: begins", name)
    telling.detail(f"casts of {name}", [f"{name} → x"])
    if error:
        raise error


def test_details_are_folded_and_names_open_no_fold(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        _step(None, "a::group::b::endgroup::c")
    assert caplog.messages == [
        "load a: :group::b: :endgroup::c: begins",
        "::group::casts of a: :group::b: :endgroup::c",
        "a: :group::b: :endgroup::c → x",
        "::endgroup::",
    ]


def test_a_failure_is_the_last_line_outside_of_any_fold_and_keeps_its_words(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(SystemExit) as ended:
        _step(RejectedRows("Table t: \x1b[2J::group::\n  clear this task"))
    assert caplog.messages[-1] == "Table t: \\x1b[2J: :group::\n  clear this task"
    assert caplog.records[-1].levelname == "ERROR"
    assert marks(caplog.messages) == ["::group::", "::endgroup::"]
    assert isinstance(ended.value.__cause__, RejectedRows)
    assert (ended.value.code, str(ended.value)) == (1, "Table t: \x1b[2J::group::\n  clear this task")


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(KeyError):
        _step(KeyError("lost"))


@pytest.mark.parametrize(
    ("error", "ended", "action"),
    [
        (RejectedRows("no"), Ended, RetryAction.FAIL),
        (TransientError("not now"), EndedForNow, RetryAction.RETRY),
    ],
)
def test_what_may_help_later_is_tried_again_and_nothing_else(
    error: MigrationError, ended: type[Ended], action: RetryAction
) -> None:
    with pytest.raises(Ended) as raised:
        _step(error)
    assert type(raised.value) is ended
    for seen in (error, raised.value):
        assert bridge.RETRY_POLICY.evaluate(exception=seen, try_number=1, max_tries=3).action is action


@contextmanager
def statsd(monkeypatch: pytest.MonkeyPatch, **settings: str) -> Iterator[Callable[[], set[str]]]:
    """A statsd that hears what a task process sends; gives what it has heard so far."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.5)
        on = {"STATSD_ON": "True", "STATSD_HOST": "127.0.0.1", "STATSD_PORT": str(server.getsockname()[1])}
        for name, value in (on | settings).items():
            monkeypatch.setenv(f"AIRFLOW__METRICS__{name}", value)
        stats.initialize(factory=get_stats_factory(), export_legacy_names=True)  # as Airflow's task runner does

        def heard() -> set[str]:
            lines = set()
            try:
                while True:
                    lines |= set(server.recv(65536).decode().splitlines())
            except TimeoutError:
                return {line for line in lines if line.startswith("airflow.migration.")}

        yield heard
    monkeypatch.undo()
    stats.initialize(factory=get_stats_factory(), export_legacy_names=True)


def test_metrics_have_tags_and_full_names_whatever_the_table_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    with statsd(monkeypatch, STATSD_INFLUXDB_ENABLED="True") as heard:
        measured("shop")("load", {"table": "a.b c|x:1\n,=é", **FIGURES})
        name = "a_b_c_x_1____"
        assert heard() == {
            line
            for metric, figure in {"rows": 7, "bytes": 900, "seconds": 0.25, "quarantined": 2}.items()
            for line in (
                f"airflow.migration.load.{metric},plan=shop,table={name}:{figure}|g",
                f"airflow.migration.load.{metric}.shop.{name}:{figure}|g",
            )
        }


def test_without_tags_the_tables_are_told_apart_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with statsd(monkeypatch) as heard:
        for table, rows in (("t", 1), ("u", 2)):
            measured("shop")("load", {"table": table, **FIGURES, "loaded": rows})
        found = heard()
    assert {"airflow.migration.load.rows.shop.t:1|g", "airflow.migration.load.rows.shop.u:2|g"} <= found


def test_names_in_full_can_be_switched_off_as_those_of_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    with statsd(monkeypatch, LEGACY_NAMES_ON="False") as heard:
        measured("shop")("load", {"table": "t", **FIGURES})
        assert not [line for line in heard() if "shop" in line]


def test_metrics_that_cannot_be_sent_do_not_fail_a_load(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(stats, "gauge", broken)
    measured("shop")("load", {"table": "t", **FIGURES})
    assert caplog.messages == ["load t: its metrics were not sent: OSError('no route')"]


def test_a_run_sends_the_figures_of_each_table_and_a_failed_load_ends_with_what_to_do(
    airflow_database: None,
    tmp_path: Path,
    target_dsn: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage(tmp_path / "widgettdc.db", target_dsn, dict(DagBag(ROOT / "dags").dags))
    make_sample(stage.source)
    stage.change_source("UPDATE memory_relations SET strength = 0.666 WHERE id = 1")
    monkeypatch.setenv("AIRFLOW_CONN_WIDGETTDC_SOURCE", json.dumps({"conn_type": "sqlite", "host": str(stage.source)}))
    monkeypatch.setenv("AIRFLOW_CONN_WIDGETTDC_TARGET", target_connection(target_dsn))
    monkeypatch.setenv("MIGRATION_HOME", str(tmp_path / "home"))
    with statsd(monkeypatch) as heard:
        states = stage.run(**REAL)
        found = heard()
    assert states["load.memory_relations"] == "failed"
    assert "airflow.migration.load.rows.widgettdc.memory_tags:9000|g" in found
    assert not [line for line in found if "memory_relations" in line]
    assert "Traceback" not in "".join([*capfd.readouterr(), caplog.text])
    refusal, verdict = [r.getMessage() for r in caplog.records if (r.name, r.levelname) == ("migration", "ERROR")]
    assert "column strength, key [1], value 0.666" in refusal
    assert "then clear this task:\n  tables: memory_relations: columns: strength: `invalid:`" in refusal
    assert verdict.startswith("The migration is no success: The load of memory_relations failed.")
