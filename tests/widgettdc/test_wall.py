"""The application's data layer knows nothing of the migration, nor of Airflow."""

import ast
import sys
from pathlib import Path

import widgettdc


def test_the_data_layer_imports_neither_the_migration_nor_airflow() -> None:
    allowed = {"alembic", "psycopg", "sqlalchemy", "widgettdc"}
    found: dict[str, set[str]] = {}
    for path in Path(widgettdc.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "." * node.level]
            else:
                continue
            found.setdefault(path.name, set()).update(name.split(".")[0] for name in names)
    assert "sqlalchemy" in found["database.py"]
    standard = sys.stdlib_module_names
    assert {name: others for name, modules in found.items() if (others := modules - allowed - standard)} == {}
