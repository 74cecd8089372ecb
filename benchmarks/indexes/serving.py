"""Which operations each index serves, and why an index that serves none is there; a test holds it to the catalog."""

from dataclasses import dataclass

KEY = "the primary key"
PRISMA = "kept because the Prisma schema creates it"


@dataclass(frozen=True)
class Serving:
    """What an index is for: operations by their names in `benchmarks.data_layer.operations`, and what else to know."""

    operations: tuple[str, ...] = ()
    note: str = ""


def _covered(by: str) -> Serving:
    return Serving((), f"covered by `{by}`; {PRISMA}")


_UNUSED = Serving((), f"no operation needs it; {PRISMA}")

SERVING = {
    "memory_entities_pkey": Serving(("memory by id",), "updates, locks and deletes too"),
    "memory_entities_text_idx": Serving(
        ("search: rare word", "search: absent word"), "trigrams, from three characters"
    ),
    "memory_entities_org_id_created_at_id_idx": Serving(("newest memories with relations", "search: common word")),
    "memory_entities_org_id_idx": _covered("memory_entities_org_id_created_at_id_idx"),
    "memory_entities_created_at_idx": _UNUSED,
    "memory_relations_pkey": Serving((), KEY),
    "memory_relations_source_id_idx": Serving(
        ("memory by id", "newest memories with relations"), "finds what a delete takes along"
    ),
    "memory_relations_target_id_idx": _UNUSED,
    "memory_tags_pkey": Serving((), KEY),
    "memory_tags_entity_id_idx": Serving(
        ("memory by id", "newest memories with relations"), "finds what a delete takes along"
    ),
    "memory_tags_tag_idx": _UNUSED,
    "raw_documents_pkey": Serving(("document by id",)),
    "raw_documents_org_id_ingested_at_id_idx": Serving(("newest documents",)),
    "raw_documents_org_id_idx": _covered("raw_documents_org_id_ingested_at_id_idx"),
    "raw_documents_ingested_at_idx": _UNUSED,
    "structured_facts_pkey": Serving((), KEY),
    "structured_facts_subject_idx": Serving(("facts about a subject",)),
    "structured_facts_doc_id_id_idx": Serving(("facts of a document",)),
    "structured_facts_org_id_idx": _UNUSED,
    "decisions_pkey": Serving(("decision with KPIs by id",)),
    "decisions_org_id_made_at_id_idx": Serving(("newest decisions with KPIs",)),
    "decisions_org_id_idx": _covered("decisions_org_id_made_at_id_idx"),
    "decisions_made_at_idx": _UNUSED,
    "evolution_kpis_pkey": Serving(("measure a KPI",)),
    "evolution_kpis_decision_id_idx": Serving(("decision with KPIs by id", "newest decisions with KPIs")),
    "evolution_kpis_measured_at_idx": _UNUSED,
    "pal_focus_windows_pkey": Serving((), KEY),
    "pal_focus_windows_user_id_start_time_id_idx": Serving(("focus windows of a week",)),
    "pal_focus_windows_user_id_idx": _covered("pal_focus_windows_user_id_start_time_id_idx"),
    "pal_focus_windows_start_time_idx": _UNUSED,
    "pal_stress_levels_pkey": Serving((), KEY),
    "pal_stress_levels_user_id_measured_at_id_idx": Serving(
        ("stress levels of a month", "mean stress of a year"), "the source had it too"
    ),
    "pal_stress_levels_user_id_idx": _covered("pal_stress_levels_user_id_measured_at_id_idx"),
    "pal_stress_levels_measured_at_idx": _UNUSED,
}
"""Every index of the newest revision."""
