"""All generated pages of the documents, and which of them are not up to date."""

from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.indexes import page as index_strategy
from benchmarks.indexes.measured import read
from local.files import ROOT
from tests.documents import durations, migration_plan, schema_analysis, schema_design, type_mapping
from tests.documents.facts import Facts

DOCS = ROOT / "docs"
OF_WIDGETTDC: dict[str, Callable[[Facts], str]] = {
    "schema-analysis": schema_analysis.page,
    "schema-design": schema_design.page,
    "type-mapping": type_mapping.page,
    "migration-plan": lambda _: migration_plan.page(durations.read()),
}
MADE = "<!-- Made by `python -m tests.documents --write`; do not edit. -->\n"


def pages(facts: Facts) -> dict[Path, str]:
    """The pages as they would be made now."""
    made = {DOCS / "widgettdc" / f"{name}.md": page(facts) for name, page in OF_WIDGETTDC.items()}
    marked = {path: f"{MADE}\n{text}" for path, text in made.items()}
    return {**marked, index_strategy.PAGE: index_strategy.page(read())}


def outdated(made: Mapping[Path, str]) -> list[Path]:
    """Those that are not what stands in the checkout."""
    return [path for path, text in made.items() if not path.exists() or path.read_text("utf-8") != text]
