"""The forms that a person fills in to trigger a DAG: every parameter with its title, help, default and bounds."""

from __future__ import annotations

from airflow.sdk import Param

OPEN = "Run Parameters"
"""The section that Airflow's form shows open; the others wait for a click."""

OPTIONAL_TEXT = ["null", "string"]
"""Of a field that may stay empty: the form does not let a plain string be sent empty, whatever its default."""


def migration() -> dict[str, Param]:
    """The form of a migration."""
    return {
        "mode": Param(
            "rehearsal",
            title="Rehearsal or real",
            description="A rehearsal loads and proves everything and leaves what is live alone. Real: the same, and "
            "at the end the migrated tables become the live ones.",
            enum=["rehearsal", "cut_over"],
            values_display={"rehearsal": "Rehearsal", "cut_over": "Real: cut over at the end"},
            section=OPEN,
        ),
        "approval": Param(
            "ask",
            title="Approval of a real run",
            description="Once everything is proved, wait for a person to decide (Required Actions), or take this form "
            "as the approval. A rehearsal needs none.",
            enum=["ask", "given"],
            values_display={"ask": "Ask before the cut-over", "given": "Given with this form"},
            section=OPEN,
        ),
        "quarantine": Param(
            "stop",
            title="Rows that cannot cross",
            description="Where the plan decides nothing: fail and name each of them, or go on without them and keep "
            "them in the quarantine, value by value.",
            enum=["stop", "allow"],
            values_display={"stop": "Fail and name them", "allow": "Go on, set them aside"},
            section="What is allowed",
        ),
        "on_live_tables": Param(
            "refuse",
            title="Live tables that hold rows already",
            description="Refuse to begin, or let the cut-over move them into a schema of their own, from where a "
            "rollback brings them back.",
            enum=["refuse", "retire"],
            values_display={"refuse": "Refuse to begin", "retire": "Set them aside at the cut-over"},
            section="What is allowed",
        ),
        "rows_per_block": Param(
            8192,
            type="integer",
            minimum=64,
            maximum=65536,
            title="Rows per block",
            description="At most so many rows are in memory at a time, from 64 to 65,536; wide rows make smaller "
            "blocks by themselves. Rarely worth a change.",
            section="Tuning",
        ),
    }


def rollback() -> dict[str, Param]:
    """The form of a rollback."""
    return {
        "run_id": Param(
            None,
            type=OPTIONAL_TEXT,
            title="Migration to undo",
            description="Its run id, as the grid of the migration's DAG shows it. Empty: the one that was cut over "
            "last. Of a run that was not cut over the staging is dropped.",
            section=OPEN,
        ),
        "approval": Param(
            "ask",
            title="Confirmation",
            description="Show what would be undone and lost, and wait for a person to confirm it (Required Actions), "
            "or take this form as the confirmation.",
            enum=["ask", "given"],
            values_display={"ask": "Show it, then ask", "given": "Given with this form"},
            section="Confirmation",
        ),
        "confirm_lost_writes": Param(
            False,
            type="boolean",
            title="Whatever was written since the cut-over may go out of use",
            description="Needed where rows were written since and nobody is asked. Whoever is asked confirms the rows "
            "that the question shows; this allows later ones too. They are kept in the staging schema.",
            section="Confirmation",
        ),
    }


def replay() -> dict[str, Param]:
    """The form of a replay."""
    return {
        "run_id": Param(
            None,
            type=OPTIONAL_TEXT,
            title="Migration whose quarantine to replay",
            description="Its run id, as the grid of the migration's DAG shows it. Empty: the newest one that still "
            "has its staging schema. It must not be cut over yet.",
            section=OPEN,
        ),
    }


def assessment() -> dict[str, Param]:
    """The form of an assessment."""
    return {
        "source": Param(
            type="string",
            minLength=1,
            pattern="^/",
            title="SQLite file",
            description="The absolute path of the database, as the workers see it. It is only read.",
            section=OPEN,
        ),
        "name": Param(
            None,
            type=OPTIONAL_TEXT,
            pattern="^([a-z][a-z0-9_]{0,39})?$",
            title="Name of the plan",
            description="Lower-case letters, digits and underscores, at most 40, a letter first. Empty: after the "
            "file's name.",
            section="The plan that is written",
        ),
        "replace": Param(
            False,
            type="boolean",
            title="Write the plan anew",
            description="Without this, a plan that is there by this name is left as it is. With it, decisions taken "
            "in it are lost.",
            section="The plan that is written",
        ),
    }
