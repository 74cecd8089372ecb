"""The plan: which tables go, into which target, and what happens to values that cannot cross.

A plan is a YAML file in ``include/plans``, validated as a whole when it is read. It is read again by every
task, so that mending it and clearing one failed task is enough; each load records the digest of its own
table's part, and the cut-over refuses a table whose part was changed after it was loaded.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from enum import StrEnum
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from migration.errors import PlanError


class Invalid(StrEnum):
    """What becomes of a value that has no exact form in its target column."""

    STOP = "stop"
    """The load fails and names the rows (the default)."""
    QUARANTINE = "quarantine"
    """The whole row goes to the quarantine, byte for byte."""
    NULL = "null"
    """The value becomes NULL; its bytes are kept in the migration schema and counted."""
    ROUND = "round"
    """A number is rounded half away from zero to the column's scale; its bytes are kept and counted."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ColumnPlan(_Strict):
    """What the plan declares for one source column; everything has a default."""

    rename: str | None = None
    """The target column's name, when it differs."""
    cast: str | None = None
    """A cast by name (see ``load/casts.py``) in place of the one that the target's type implies."""
    invalid: Invalid | None = None
    """Overrides the table's and the run's policy for values of this column."""


class Reference(_Strict):
    """A reference that neither side enforces: it orders the loads, is checked and is reported."""

    columns: tuple[str, ...]
    table: str
    parent_columns: tuple[str, ...] = ("id",)


class TablePlan(_Strict):
    """One source table's way into the target; names are the source's unless said otherwise."""

    rename: str | None = None
    invalid: Invalid | None = None
    load_after: tuple[str, ...] = ()
    """Tables that must be loaded first: those that foreign keys and references point to."""
    references: tuple[Reference, ...] = ()
    columns: dict[str, ColumnPlan] = {}
    exclude_columns: tuple[str, ...] = ()
    """Source columns left behind by name."""

    @property
    def digest(self) -> str:
        """sha256 of this part of the plan."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def policy(self, column: str, run_policy: Invalid) -> Invalid:
        """The policy for ``column``: its own, the table's, then the run's."""
        plan = self.columns.get(column)
        return (plan.invalid if plan else None) or self.invalid or run_policy

    def cast(self, column: str) -> str | None:
        """The cast that the plan names for ``column``."""
        plan = self.columns.get(column)
        return plan.cast if plan else None

    def target_column(self, column: str) -> str:
        """The target's name for a source column."""
        plan = self.columns.get(column)
        return (plan.rename if plan else None) or column


PlanName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class Plan(_Strict):
    """A whole migration. ``name`` names its DAGs, its staging schemas and its connections."""

    name: PlanName
    title: str
    models: str
    """``module:attribute`` of the SQLAlchemy MetaData (or declarative base) that describes the target."""
    source: str
    """The Airflow connection (sqlite) of the database to move."""
    target: str
    """The Airflow connection (postgres) of the database to fill."""
    live_schema: str = "public"
    tables: dict[str, TablePlan] = Field(min_length=1)
    exclude_tables: tuple[str, ...] = ()
    """Source tables left behind by name."""

    @model_validator(mode="after")
    def _consistent(self) -> Plan:
        for name, table in self.tables.items():
            wanted = {*table.load_after, *(r.table for r in table.references)}
            if unknown := sorted(wanted - set(self.tables)):
                raise ValueError(
                    f"table {name} is to be loaded after {', '.join(unknown)}, which the plan does not have"
                )
            for reference in table.references:
                if len(reference.columns) != len(reference.parent_columns):
                    raise ValueError(f"table {name}: reference to {reference.table} pairs columns of different number")
        if both := sorted(set(self.tables) & set(self.exclude_tables)):
            raise ValueError(f"{', '.join(both)} both planned and excluded")
        targets = [self.target_table(t) for t in self.tables]
        if twice := sorted({t for t in targets if targets.count(t) > 1}):
            raise ValueError(f"two tables are renamed to {', '.join(twice)}")
        try:
            _ = self.levels
        except CycleError as error:
            raise ValueError(f"load_after goes in a circle: {' → '.join(error.args[1])}") from error
        return self

    def before(self, table: str) -> tuple[str, ...]:
        """The tables that must be loaded before ``table`` (never itself)."""
        plan = self.tables[table]
        return tuple(dict.fromkeys(t for t in (*plan.load_after, *(r.table for r in plan.references)) if t != table))

    @cached_property
    def levels(self) -> tuple[tuple[str, ...], ...]:
        """The tables in load order: each level needs only those before it, so its tables load in parallel."""
        sorter = TopologicalSorter({t: self.before(t) for t in self.tables})
        sorter.prepare()
        levels = []
        while sorter.is_active():
            ready = tuple(sorter.get_ready())
            levels.append(ready)
            sorter.done(*ready)
        return tuple(levels)

    def target_table(self, table: str) -> str:
        """The target's name for a source table."""
        return self.tables[table].rename or table


class _Loader(yaml.SafeLoader):
    """YAML without its traps: no key stands twice, and ``invalid: null`` is the policy of that name."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value} stands here twice", problem_mark=key.start_mark)
            seen.add(key.value)
            if key.value == "invalid" and value.tag == "tag:yaml.org,2002:null" and value.value:
                value.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)


def read_plan(path: Path) -> Plan:
    """Read and validate a plan file; PlanError says every fault with its place in the file."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        return Plan.model_validate(content)
    except FileNotFoundError as error:
        raise PlanError(f"There is no plan {path.name}; plans are YAML files in {path.parent}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"The plan {path.name} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise PlanError(f"The plan {path.name} is not valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, f['loc'])) or 'plan'}: {f['msg']}" for f in error.errors())
        raise PlanError(f"The plan {path.name} is not valid: {faults}. Mend the file and start again.") from error


PLANS = Path(os.environ.get("MIGRATION_PLANS") or Path(__file__).resolve().parent.parent / "plans")
"""The folder of the plans: the environment variable MIGRATION_PLANS, otherwise ``include/plans``."""


def plan_path(name: str) -> Path:
    """The file of the plan ``name``; PlanError when the name is not one."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise PlanError(f"{name!r} is no plan's name: use lower-case letters, digits and underscores.")
    return PLANS / f"{name}.yaml"


def plan_files() -> Iterable[Path]:
    """The plan files, by name."""
    return sorted(PLANS.glob("*.yaml"))
