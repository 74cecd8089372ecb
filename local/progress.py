"""Shows a DAG run while it works: a terminal gets one live line per step, a file a line per change."""

import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

NEVER_RAN = {"none", "scheduled", "queued", "skipped", "upstream_failed", "removed"}
WORDS = {"success": "done", "failed": "FAILED", "up_for_retry": "waits to try again", "running": "running"}


@dataclass(frozen=True)
class Task:
    """One task instance as the API tells it. A task in a group belongs to the step of that name."""

    step: str
    name: str
    state: str
    start: datetime | None
    end: datetime | None

    @classmethod
    def read(cls, instance: dict[str, Any]) -> "Task":
        step, _, table = instance["task_id"].partition(".")
        mapped = f"[{instance['rendered_map_index'] or instance['map_index']}]" if instance["map_index"] >= 0 else ""
        return cls(
            step=step,
            name=f"{table or step}{mapped}",
            state=instance["state"] or "none",
            start=_moment(instance["start_date"]),
            end=_moment(instance["end_date"]),
        )

    @property
    def full_name(self) -> str:
        return self.name if self.name.startswith(self.step) else f"{self.step}.{self.name}"

    @property
    def seconds(self) -> float:
        """So far, or in all."""
        return ((self.end or datetime.now(UTC)) - self.start).total_seconds() if self.start else 0.0


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def step_lines(tasks: Iterable[Task]) -> list[str]:
    """One line for every step of which a task has run, in the order in which they began."""
    steps: dict[str, list[Task]] = {}
    for task in sorted(tasks, key=lambda task: task.start or datetime.max.replace(tzinfo=UTC)):
        steps.setdefault(task.step, []).append(task)
    return [_step_line(name, members) for name, members in steps.items() if any(map(_has_run, members))]


def _has_run(task: Task) -> bool:
    return task.start is not None and task.state not in NEVER_RAN


def _step_line(name: str, tasks: list[Task]) -> str:
    begun = [task for task in tasks if _has_run(task)]
    ends = [task.end or datetime.now(UTC) for task in begun]
    seconds = (max(ends) - min(task.start for task in begun if task.start)).total_seconds()
    states = {task.state for task in tasks}
    failed = [task.name for task in tasks if task.state == "failed"]
    active = [f"{task.name} {task.seconds:.0f} s" for task in tasks if task.state in ("running", "up_for_retry")]
    done = sum(task.state == "success" for task in tasks)
    word = "FAILED" if failed else "done" if states <= {"success", "skipped"} else "running"
    details = []
    if len(tasks) > 1:
        details.append(f"{done} of {len(tasks)}")
        details += [f"failed: {', '.join(failed)}"] if failed else []
        details += [f"now: {', '.join(active)}"] if active else []
    return f"  {name:<15} {word:<8} {seconds:6.1f} s   {'; '.join(details)}".rstrip()


class Progress:
    """Call `show` with every task of the run whenever its state has been read."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()
        self._began = datetime.now(UTC)
        self._drawn = 0
        self._told: dict[str, str] = {}

    def show(self, tasks: list[Task]) -> None:
        if self.live:
            self._redraw(step_lines(tasks))
        else:
            self._tell(tasks)

    def _redraw(self, lines: list[str]) -> None:
        size = shutil.get_terminal_size()
        lines = [line[: size.columns - 1] for line in lines[-(size.lines - 1) :]]
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        print(up + "".join(f"\x1b[2K{line}\n" for line in lines), end="", flush=True)
        self._drawn = len(lines)

    def _tell(self, tasks: list[Task]) -> None:
        for task in sorted(tasks, key=lambda task: task.end or task.start or self._began):
            if task.state not in WORDS or self._told.get(task.full_name) == task.state:
                continue
            self._told[task.full_name] = task.state
            after = (datetime.now(UTC) - self._began).total_seconds()
            how_long = "" if task.state == "running" else f" after {task.seconds:.1f} s"
            print(f"  {after:6.1f} s  {task.full_name}: {WORDS[task.state]}{how_long}", flush=True)
