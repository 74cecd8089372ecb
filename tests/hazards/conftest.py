"""Fixtures of the hazards' tests: plans are written to a folder of the test's own."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the plans."""
    folder = tmp_path / "plans"
    monkeypatch.setattr("migration.plan.PLANS", folder)
    return folder
