-- What Prisma creates for the application's schema (apps/backend/prisma/schema.prisma), word for word:
-- prisma 6.19.3, `prisma migrate diff --from-empty --to-schema-datamodel schema.prisma --script`.

-- CreateSchema
CREATE SCHEMA IF NOT EXISTS "public";

-- CreateTable
CREATE TABLE "memory_entities" (
    "id" SERIAL NOT NULL,
    "org_id" VARCHAR(255) NOT NULL,
    "text" TEXT NOT NULL,
    "metadata" JSONB,
    "created_at" TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ NOT NULL,

    CONSTRAINT "memory_entities_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "memory_relations" (
    "id" SERIAL NOT NULL,
    "source_id" INTEGER NOT NULL,
    "target_id" INTEGER NOT NULL,
    "relation_type" VARCHAR(100) NOT NULL,
    "strength" DECIMAL(3,2) NOT NULL DEFAULT 1.0,

    CONSTRAINT "memory_relations_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "memory_tags" (
    "id" SERIAL NOT NULL,
    "entity_id" INTEGER NOT NULL,
    "tag" VARCHAR(100) NOT NULL,

    CONSTRAINT "memory_tags_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "raw_documents" (
    "id" SERIAL NOT NULL,
    "org_id" VARCHAR(255) NOT NULL,
    "title" VARCHAR(500),
    "content" TEXT NOT NULL,
    "source" VARCHAR(200),
    "ingested_at" TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "raw_documents_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "structured_facts" (
    "id" SERIAL NOT NULL,
    "org_id" VARCHAR(255) NOT NULL,
    "subject" VARCHAR(500) NOT NULL,
    "predicate" VARCHAR(200) NOT NULL,
    "object" TEXT NOT NULL,
    "doc_id" INTEGER,

    CONSTRAINT "structured_facts_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "evolution_kpis" (
    "id" SERIAL NOT NULL,
    "decision_id" INTEGER NOT NULL,
    "kpi_name" VARCHAR(200) NOT NULL,
    "expected_value" DECIMAL(10,2) NOT NULL,
    "actual_value" DECIMAL(10,2),
    "measured_at" TIMESTAMPTZ NOT NULL,

    CONSTRAINT "evolution_kpis_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "decisions" (
    "id" SERIAL NOT NULL,
    "org_id" VARCHAR(255) NOT NULL,
    "title" VARCHAR(500) NOT NULL,
    "description" TEXT,
    "made_at" TIMESTAMPTZ NOT NULL,

    CONSTRAINT "decisions_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "pal_focus_windows" (
    "id" SERIAL NOT NULL,
    "user_id" VARCHAR(255) NOT NULL,
    "start_time" TIMESTAMPTZ NOT NULL,
    "end_time" TIMESTAMPTZ NOT NULL,
    "priority" VARCHAR(50) NOT NULL,

    CONSTRAINT "pal_focus_windows_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "pal_stress_levels" (
    "id" SERIAL NOT NULL,
    "user_id" VARCHAR(255) NOT NULL,
    "level" SMALLINT NOT NULL,
    "measured_at" TIMESTAMPTZ NOT NULL,

    CONSTRAINT "pal_stress_levels_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "memory_entities_org_id_idx" ON "memory_entities"("org_id");

-- CreateIndex
CREATE INDEX "memory_entities_created_at_idx" ON "memory_entities"("created_at");

-- CreateIndex
CREATE INDEX "memory_relations_source_id_idx" ON "memory_relations"("source_id");

-- CreateIndex
CREATE INDEX "memory_relations_target_id_idx" ON "memory_relations"("target_id");

-- CreateIndex
CREATE INDEX "memory_tags_entity_id_idx" ON "memory_tags"("entity_id");

-- CreateIndex
CREATE INDEX "memory_tags_tag_idx" ON "memory_tags"("tag");

-- CreateIndex
CREATE INDEX "raw_documents_org_id_idx" ON "raw_documents"("org_id");

-- CreateIndex
CREATE INDEX "raw_documents_ingested_at_idx" ON "raw_documents"("ingested_at");

-- CreateIndex
CREATE INDEX "structured_facts_org_id_idx" ON "structured_facts"("org_id");

-- CreateIndex
CREATE INDEX "structured_facts_subject_idx" ON "structured_facts"("subject");

-- CreateIndex
CREATE INDEX "evolution_kpis_decision_id_idx" ON "evolution_kpis"("decision_id");

-- CreateIndex
CREATE INDEX "evolution_kpis_measured_at_idx" ON "evolution_kpis"("measured_at");

-- CreateIndex
CREATE INDEX "decisions_org_id_idx" ON "decisions"("org_id");

-- CreateIndex
CREATE INDEX "decisions_made_at_idx" ON "decisions"("made_at");

-- CreateIndex
CREATE INDEX "pal_focus_windows_user_id_idx" ON "pal_focus_windows"("user_id");

-- CreateIndex
CREATE INDEX "pal_focus_windows_start_time_idx" ON "pal_focus_windows"("start_time");

-- CreateIndex
CREATE INDEX "pal_stress_levels_user_id_idx" ON "pal_stress_levels"("user_id");

-- CreateIndex
CREATE INDEX "pal_stress_levels_measured_at_idx" ON "pal_stress_levels"("measured_at");

-- AddForeignKey
ALTER TABLE "memory_relations" ADD CONSTRAINT "memory_relations_source_id_fkey" FOREIGN KEY ("source_id") REFERENCES "memory_entities"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "memory_tags" ADD CONSTRAINT "memory_tags_entity_id_fkey" FOREIGN KEY ("entity_id") REFERENCES "memory_entities"("id") ON DELETE CASCADE ON UPDATE CASCADE;

