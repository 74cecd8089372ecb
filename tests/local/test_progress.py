"""What a person sees while a run works."""

from typing import Any

import pytest

from local.progress import Progress, Task, step_lines


def instance(task_id: str, state: str | None, start: int | None = None, end: int | None = None) -> dict[str, Any]:
    def moment(second: int | None) -> str | None:
        return None if second is None else f"2024-07-01T12:00:{second:02}Z"

    return {
        "task_id": task_id,
        "state": state,
        "start_date": moment(start),
        "end_date": moment(end),
        "map_index": -1,
        "rendered_map_index": None,
    }


RUN = [
    instance("load.memory_tags", "failed", 3, 5),
    instance("preflight", "success", 0, 1),
    instance("load.memory_entities", "success", 1, 3),
    instance("finish_schema", "upstream_failed", 5, 5),
    instance("verify.memory_tags", None),
    instance("roll_back", "skipped", 5, 5),
]


def test_a_terminal_shows_one_line_per_step_and_nothing_that_never_ran() -> None:
    assert step_lines(map(Task.read, RUN)) == [
        "  preflight       done        1.0 s",
        "  load            FAILED      4.0 s   1 of 2; failed: memory_tags",
    ]


def test_elsewhere_every_change_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    for _ in range(2):
        progress.show([Task.read(one) for one in RUN])
    told = [line.split("s  ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert told == [
        "preflight: done after 1.0 s",
        "load.memory_entities: done after 2.0 s",
        "load.memory_tags: FAILED after 2.0 s",
    ]


def test_mapped_tasks_are_told_apart_by_their_label() -> None:
    mapped = instance("load.memory_tags", "running", 1) | {"map_index": 3, "rendered_map_index": "ids 1 to 9"}
    assert Task.read(mapped).full_name == "load.memory_tags[ids 1 to 9]"
