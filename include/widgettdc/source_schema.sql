-- WidgetTDC's SQLite schema: what the application created before it moved to PostgreSQL.

CREATE TABLE memory_entities (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  org_id      TEXT NOT NULL,
  text        TEXT NOT NULL,
  metadata    TEXT,                                         -- JSON
  created_at  DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at  DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE memory_relations (
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  source_id      INTEGER NOT NULL REFERENCES memory_entities(id) ON DELETE CASCADE,
  target_id      INTEGER NOT NULL,                          -- memory_entities.id, by the application only
  relation_type  TEXT NOT NULL,
  strength       REAL NOT NULL DEFAULT 1.0
);

CREATE TABLE memory_tags (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  entity_id  INTEGER NOT NULL REFERENCES memory_entities(id) ON DELETE CASCADE,
  tag        TEXT NOT NULL
);

CREATE TABLE raw_documents (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  org_id       TEXT NOT NULL,
  title        TEXT,
  content      TEXT NOT NULL,
  source       TEXT,
  ingested_at  TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE structured_facts (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  org_id     TEXT NOT NULL,
  subject    TEXT NOT NULL,
  predicate  TEXT NOT NULL,
  object     TEXT NOT NULL,
  doc_id     INTEGER                                        -- raw_documents.id, by the application only
);

CREATE TABLE decisions (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  org_id       TEXT NOT NULL,
  title        TEXT NOT NULL,
  description  TEXT,
  made_at      DATETIME NOT NULL
);

CREATE TABLE evolution_kpis (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  decision_id     INTEGER NOT NULL,                         -- decisions.id, by the application only
  kpi_name        TEXT NOT NULL,
  expected_value  REAL NOT NULL,
  actual_value    NUMERIC,                                  -- keeps whole numbers as INTEGER, others as REAL
  measured_at     TIMESTAMP NOT NULL
);

CREATE TABLE pal_focus_windows (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id     TEXT NOT NULL,
  start_time  DATETIME NOT NULL,
  end_time    DATETIME NOT NULL,
  priority    TEXT NOT NULL
);

CREATE TABLE pal_stress_levels (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id      TEXT NOT NULL,
  level        INTEGER NOT NULL,
  measured_at  DATETIME NOT NULL
);

CREATE INDEX idx_memory_entities_org ON memory_entities(org_id);
CREATE INDEX idx_memory_entities_created ON memory_entities(created_at);
CREATE INDEX idx_memory_relations_source ON memory_relations(source_id);
CREATE INDEX idx_memory_relations_target ON memory_relations(target_id);
CREATE INDEX idx_memory_tags_entity ON memory_tags(entity_id);
CREATE INDEX idx_memory_tags_tag ON memory_tags(tag);
CREATE INDEX idx_raw_documents_org ON raw_documents(org_id);
CREATE INDEX idx_structured_facts_org ON structured_facts(org_id);
CREATE INDEX idx_evolution_kpis_decision ON evolution_kpis(decision_id);
CREATE INDEX idx_decisions_org ON decisions(org_id);
CREATE INDEX idx_pal_focus_windows_user ON pal_focus_windows(user_id);
CREATE INDEX idx_pal_stress_levels_user ON pal_stress_levels(user_id, measured_at);
