"""The forms and texts that an operator meets: complete for every DAG and every task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError

from glue import forms, handbook

ROOT = Path(__file__).parents[2]
FORMS = [forms.migration(), forms.replay(), forms.rollback(), forms.assessment()]
FIELDS = [pytest.param(name, param, id=name) for form in FORMS for name, param in form.items()]


@pytest.mark.parametrize(("name", "param"), FIELDS)
def test_every_field_has_a_title_a_sentence_a_section_and_a_word_for_each_choice(name: str, param: Any) -> None:
    assert param.schema["title"]
    assert param.description.endswith(".")
    assert param.schema["section"]
    assert set(param.schema.get("values_display", {})) == set(param.schema.get("enum", []))


@pytest.mark.parametrize(("name", "param"), FIELDS)
def test_every_form_can_be_sent_as_it_is_but_for_the_file_to_assess(name: str, param: Any) -> None:
    if name == "source":
        assert not param.has_value
    else:
        assert param.resolve() != ""  # which the form takes for a missing value


@pytest.mark.parametrize(
    ("form", "name", "value"),
    [
        (forms.migration(), "mode", "real"),
        (forms.migration(), "approval", ""),
        (forms.migration(), "rows_per_block", 63),
        (forms.migration(), "rows_per_block", 65537),
        (forms.rollback(), "approval", "yes"),
        (forms.assessment(), "source", "app.db"),
        (forms.assessment(), "name", "My plan"),
    ],
)
def test_a_value_that_means_nothing_is_refused_by_the_form(form: Any, name: str, value: Any) -> None:
    with pytest.raises(ParamValidationError):
        form[name].resolve(value)


@pytest.fixture(scope="module")
def dags(airflow_database: None) -> dict[str, DAG]:
    return dict(DagBag(ROOT / "dags").dags)


def test_every_dag_and_every_task_says_what_it_is_for(dags: dict[str, DAG]) -> None:
    for dag in dags.values():
        assert dag.doc_md, dag.dag_id
        for task in dag.tasks:
            assert task.doc_md, task.task_id
            if "." not in task.task_id:
                assert task.task_display_name == handbook.NAMES[task.task_id]
