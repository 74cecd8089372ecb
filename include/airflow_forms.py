"""The forms that a person fills in to trigger a DAG: every parameter with its title, help, default and bounds."""

from __future__ import annotations

from airflow.sdk import Param


def migration() -> dict[str, Param]:
    """The form of a migration."""
    return {
        "mode": Param(
            "rehearsal",
            title="Rehearsal or real",
            description="A rehearsal does everything but the cut-over; its staging schema stays until the next run.",
            enum=["rehearsal", "cut_over"],
            values_display={"rehearsal": "Rehearsal", "cut_over": "Real: cut over at the end"},
            section="What to do",
        ),
        "approval": Param(
            "ask",
            title="Approval",
            description="Before the cut-over, ask a person, or take this form as the approval.",
            enum=["ask", "given"],
            values_display={"ask": "Ask a person", "given": "Given herewith"},
            section="What to do",
        ),
        "quarantine": Param(
            "stop",
            title="Rows that cannot cross",
            description="Where the plan says nothing: stop and name them, or set them aside with their bytes.",
            enum=["stop", "allow"],
            values_display={"stop": "Stop the run", "allow": "Allow the quarantine"},
            section="Policies",
        ),
        "on_live_tables": Param(
            "refuse",
            title="Live tables that hold rows",
            description="Refuse to begin, or let the cut-over set them aside in a retired schema.",
            enum=["refuse", "retire"],
            values_display={"refuse": "Refuse", "retire": "Set them aside at the cut-over"},
            section="Policies",
        ),
        "rows_per_block": Param(
            8192,
            type="integer",
            minimum=64,
            maximum=65536,
            title="Rows per block",
            description="At most so many rows are held in memory and sent at a time; wide rows make smaller blocks.",
            section="Tuning",
        ),
    }


def rollback() -> dict[str, Param]:
    """The form of a rollback."""
    return {
        "run_id": Param(
            "",
            type="string",
            title="Run",
            description="The run to undo, as the migration's grid names it. Empty: the newest one that was cut over.",
        ),
        "confirm_lost_writes": Param(
            False,
            type="boolean",
            title="Set aside rows written since the cut-over",
            description="Without this, a rollback refuses when the live tables were written to since, with numbers.",
        ),
    }


def replay() -> dict[str, Param]:
    """The form of a replay."""
    return {
        "run_id": Param(
            "",
            type="string",
            title="Run",
            description="The run whose quarantine to replay. Empty: the newest one that still has its staging schema.",
        ),
    }


def assessment() -> dict[str, Param]:
    """The form of an assessment."""
    return {
        "source": Param(
            type="string",
            minLength=1,
            title="SQLite file",
            description="The absolute path of the database, as the workers see it. It is only read.",
        ),
        "name": Param(
            "",
            type="string",
            pattern="^([a-z][a-z0-9_]{0,39})?$",
            title="Name of the plan",
            description="Lower-case letters, digits and underscores. Empty: the file's name.",
        ),
        "replace": Param(
            False,
            type="boolean",
            title="Write the plan anew",
            description="Without this, a plan of that name is left as it is.",
        ),
    }
