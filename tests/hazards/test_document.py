"""The list of hazards in the documents names tests that exist, and all of them."""

import re
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def test_every_hazard_of_the_document_has_its_test_and_every_test_its_hazard() -> None:
    text = (ROOT / "docs" / "hazards.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| hazard")]
    named = set(re.findall(r"`(test_\w+)`", text))
    there = set()
    for file in HERE.glob("test_*.py"):
        if file != Path(__file__):
            there |= set(re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE))
    assert named == there
    assert all(re.search(r"`(test_\w+|tests/[\w/.]+)`", row) for row in rows)
    assert all((ROOT / path).exists() for path in re.findall(r"`(tests/[\w/.]+\.py)`", text))
