"""The suite of faults: slow as a whole, and with a table at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Server
from tests.faults.ledger import Ledger, markdown
from tests.faults.world import World

_KEY = pytest.StashKey[Ledger]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-table", action="store_true", help="write the table of faults into docs/faults.md")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_KEY] = Ledger()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slow)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    ledger = config.stash[_KEY]
    if not ledger:
        return
    terminalreporter.section("faults tried")
    for line in markdown(ledger.lines()):
        terminalreporter.write_line(line)
    if config.getoption("--write-table"):
        ledger.write()


@pytest.fixture(scope="session")
def ledger(request: pytest.FixtureRequest) -> Ledger:
    """Where each point tried is entered."""
    return request.config.stash[_KEY]


@pytest.fixture(scope="module")
def world(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A small migration that can be put back to any step of it."""
    world = World(postgres_server, tmp_path_factory.mktemp("world"))
    yield world
    world.close()
