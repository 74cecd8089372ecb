"""Whatever names an application's models give to their indexes, or leave to a convention, the target has these."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from migration import steps
from tests.engine.support import ask, begin, database, insert, job_for, plan_for

CONVENTIONS = [
    {},
    {"ix": "ix_%(column_0_label)s", "uq": "uq_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s"},
    {"ix": "%(table_name)s_%(column_0_N_name)s_idx"},
]


@pytest.mark.parametrize("convention", CONVENTIONS, ids=["SQLAlchemy's own", "by label", "by table and columns"])
def test_indexes_that_columns_ask_for_are_called_as_in_the_models(
    tmp_path: Path, target_dsn: str, convention: dict[str, str]
) -> None:
    metadata = sa.MetaData(naming_convention=convention) if convention else sa.MetaData()
    table = sa.Table(
        "t",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("a", sa.Text, index=True),
        sa.Column("b", sa.Text, index=True, unique=True),
        sa.Index("named", "a", "b"),
        sa.Column("c", sa.Text),
        sa.Index(None, "c"),
    )
    source = database(tmp_path / "app.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT, c TEXT)")
    insert(source, "t", [(1, "x", "y", "z")])
    job = begin(job_for(source, target_dsn, plan_for(metadata)))
    steps.load(job, "t")
    steps.finish_schema(job)
    steps.verify(job, "t")
    found = {n for (n,) in ask(job, "SELECT indexname FROM pg_indexes WHERE schemaname = %s", job.staging)}
    assert {str(index.name) for index in table.indexes} < found
