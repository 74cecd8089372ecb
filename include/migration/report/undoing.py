"""What a rollback would do, for the person who is asked whether to."""

from __future__ import annotations

from collections.abc import Iterator

from migration.postgres.placed import Outlook, Writes
from migration.report.markdown import TABLES, plain
from migration.report.words import counted, visible, when


def question(title: str, outlook: Outlook) -> str:
    """One line: what is asked, with the number of writes that the application would lose."""
    if not outlook.cut_over_at:
        return visible(f"{title}: drop the staging of run {outlook.run_id}?")
    if not outlook.writes:
        return visible(f"{title}: roll back? Nothing was written since the cut-over.")
    added, gone = _sums(outlook)
    return visible(
        f"{title}: roll back, and set aside what was written since the cut-over? {counted(added, 'row')} inserted or "
        f"changed, {gone:,} of the migrated rows changed or deleted."
    )


def undoing(outlook: Outlook) -> str:
    """A few paragraphs and a table (GitHub's Markdown); data in it is escaped, so that it shows as it is."""
    return "\n\n".join(_paragraphs(outlook)) + "\n"


def _paragraphs(outlook: Outlook) -> Iterator[str]:
    if not outlook.cut_over_at:
        yield f"**Run {plain(outlook.run_id)}** was not cut over: nothing of it is live."
        yield (
            f"Its staging schema {plain(outlook.staging)} with {counted(len(outlook.placed), 'table')} would be "
            "dropped. The snapshot and the report stay."
        )
        return
    by = str(outlook.approval.get("by") or "the form that started it")
    yield f"**Run {plain(outlook.run_id)}** was cut over at {when(outlook.cut_over_at)}, approved by {plain(by)}."
    added, gone = _sums(outlook)
    if outlook.writes:
        yield (
            f"**Since then {counted(added, 'row was', 'rows were')} inserted or changed, and of the migrated rows "
            f"{gone:,} changed or deleted.** Nothing of that would be live after a rollback. It stays in the schema "
            f"{plain(outlook.staging)}, which no later run drops."
        )
    else:
        yield "**Nothing was written since then.** A rollback loses nothing."
    live, count = plain(outlook.live), len(outlook.placed)
    yield f"- {counted(count, 'table')} would go out of {live} into {plain(outlook.staging)}.\n" + (
        f"- {counted(len(outlook.restored), 'table')} would come back from {plain(outlook.retired)}, as before."
        if outlook.restored
        else f"- Nothing would come back: {live} held none of these tables before."
    )
    yield "\n".join(_tables(outlook))


def _tables(outlook: Outlook) -> Iterator[str]:
    yield "| table | migrated rows | new or changed since | migrated ones gone or changed | rows that come back |"
    yield "|---|--:|--:|--:|--:|"
    written = {writes.table: writes for writes in outlook.writes}
    ranked = sorted(outlook.placed, key=lambda name: name not in written)
    for name in ranked[:TABLES]:
        writes = written.get(name, Writes(name, 0, 0, 0))
        back = outlook.restored.get(name)
        numbers = (outlook.placed[name], writes.added, writes.gone, back)
        yield f"| {plain(name)} | " + " | ".join("–" if n is None else f"{n:,}" for n in numbers) + " |"
    if len(ranked) > TABLES:
        yield f"| and {counted(len(ranked) - TABLES, 'more table')} | | | | |"


def _sums(outlook: Outlook) -> tuple[int, int]:
    return sum(w.added for w in outlook.writes), sum(w.gone for w in outlook.writes)
