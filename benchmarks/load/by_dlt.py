"""Moves one table by dlt, run in dlt's own environment: by_dlt.py FILE DSN TABLE."""

import os
import sys
import tempfile

import dlt  # type: ignore[import-not-found]
from dlt.sources.sql_database import sql_table  # type: ignore[import-not-found]

path, dsn, table = sys.argv[1:]
os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
with tempfile.TemporaryDirectory() as folder:
    pipeline = dlt.pipeline(
        f"bench_{table}",
        pipelines_dir=folder,
        destination=dlt.destinations.postgres(dsn),
        dataset_name="by_dlt",
    )
    rows = sql_table(f"sqlite:///{path}", table=table, backend="pyarrow", chunk_size=50_000)
    pipeline.run(rows, table_name=table, write_disposition="append", loader_file_format="csv").raise_on_failed_jobs()
