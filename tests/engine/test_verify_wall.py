"""A check that shares code with what it checks proves nothing: verification imports nothing of the loader."""

from __future__ import annotations

import ast
from pathlib import Path

import migration


def imports(module: str, root: Path) -> set[str]:
    """The project's modules that a module imports, anywhere in it."""
    path = root / Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    here = {m for m in found if m.split(".")[0] == "migration"}
    return {
        m
        for m in here
        if (root / Path(*m.split("."))).with_suffix(".py").exists() or (root / Path(*m.split("."))).is_dir()
    }


def test_verification_shares_nothing_with_the_loader() -> None:
    """Walked from verify's modules through everything of the project that they import."""
    root = Path(migration.__path__[0]).parent
    waiting = {f"migration.verify.{p.stem}" for p in (root / "migration" / "verify").glob("*.py")} - {
        "migration.verify.__init__"
    }
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        seen.add(module)
        waiting |= imports(module, root) - seen
    assert "migration.verify.table" in seen
    assert not [m for m in seen if m.startswith("migration.load") or m == "migration.mapping"]
    readers = {"migration.verify.values", "migration.verify.jsonb", "migration.verify.codecs"}
    for module in readers:
        source = (root / Path(*module.split("."))).with_suffix(".py").read_text(encoding="utf-8")
        assert not {"pyarrow", "numpy"} & set(source.split())  # the loader's own readers
