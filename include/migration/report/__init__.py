"""The report of a run, whatever became of it: gathered from the state, judged, shown.

``facts`` has the data; ``gather`` reads it, with ``rows`` (also page by page) and ``carried``; ``verdict`` judges it;
``text`` (terminal), ``markdown`` (approval), ``page`` (HTML) and ``files`` (which documents the JSON) show it.
``undoing`` shows what a rollback would do.
"""

from migration.report.facts import Report
from migration.report.files import as_dict, as_json, folder, produce, write_files
from migration.report.gather import gather
from migration.report.markdown import as_markdown
from migration.report.page import as_html
from migration.report.text import as_text
from migration.report.undoing import question, undoing
from migration.report.verdict import Verdict, table_state, verdict
from migration.report.words import restore_command

__all__ = [
    "Report",
    "Verdict",
    "as_dict",
    "as_html",
    "as_json",
    "as_markdown",
    "as_text",
    "folder",
    "gather",
    "produce",
    "question",
    "restore_command",
    "table_state",
    "undoing",
    "verdict",
    "write_files",
]
