"""Small databases with the hazards that real ones lack, a few for each chapter: the file, its values, its schema."""

from __future__ import annotations

from pathlib import Path

import apsw

from tests.corpus.fetching import Way, Workshop

SERIES = """CREATE TEMP TABLE counted AS WITH RECURSIVE s(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM s LIMIT 300)
SELECT value FROM s"""
"""The numbers from 1 on, for statements that make rows; it goes with the connection."""


def script(statements: str, encoding: str = "UTF-8") -> Way:
    """A database made by SQL."""

    def make(_: Workshop, to: Path) -> None:
        connection = apsw.Connection(str(to))
        connection.pragma("encoding", encoding)
        connection.create_collation("icu_root", lambda one, other: (one > other) - (one < other))  # Plex brings its own
        connection.execute(f"{SERIES}; BEGIN; {statements}; COMMIT")
        connection.close()

    return make


_UTF16 = """
CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT NOT NULL, note VARCHAR(20), b BLOB);
INSERT INTO t VALUES (1, 'straße', '日本語', x'00ff'), (2, '🙂', '', NULL), (3, 'x', NULL, x''), (4, 'ünï', 'ßß', x'feff');
CREATE INDEX t_name ON t (name)"""

_NUMBERS = """
CREATE TABLE reals (id INTEGER PRIMARY KEY, v REAL, f FLOAT, d DOUBLE PRECISION);
INSERT INTO reals VALUES (1, 0.1, 1e308, 9e999), (2, -0.0, 5e-324, -9e999), (3, 0.30000000000000004, 1, NULL),
  (4, 123456789012345680, 2.2250738585072014e-308, 1e-7), (5, 1.0, 1.7976931348623157e308, 3);
CREATE TABLE integers (id INTEGER PRIMARY KEY, small SMALLINT, tiny TINYINT, i INT, b BIGINT, u UNSIGNED BIG INT);
INSERT INTO integers VALUES (1, 32767, 255, 2147483647, 9223372036854775807, -9223372036854775808),
  (9007199254740993, 32768, 256, 2147483648, -1, 0), (-5, -32768, -1, NULL, NULL, 9007199254740993);
CREATE TABLE decimals (id INTEGER PRIMARY KEY, price DECIMAL(10,2), wide NUMERIC(20,4), rate DECIMAL(5,2), plain NUMERIC, m MONEY);
INSERT INTO decimals VALUES (1, 12.34, 123456789.1234, 1.005, 1, 9.99), (2, -0.01, 0.0001, 1e300, 2.5, 10), (3, NULL, 1, 3, 'x', 0);
CREATE TABLE mixed (id INTEGER PRIMARY KEY, a INTEGER, b, c TEXT, d REAL, e NUMERIC);
INSERT INTO mixed VALUES (1, 1, 1, 'one', 1.5, 1), (2, 'two', 'two', '2', 'text', 1.5), (3, 3.5, 2.5, '', NULL, 'n'),
  (4, x'01', x'02', x'03', 4, x'04'), (5, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE codes (id INTEGER PRIMARY KEY, v INTEGER, w BLOB, zip TEXT);
INSERT INTO codes VALUES (1, 5, 7, '00501'), (2, 'A5', '07', 'x'), (3, '0x1F', 7, '1e5'), (4, -3, '7', '+1')"""

_BOOLEANS = """
CREATE TABLE flags (id INTEGER PRIMARY KEY, sure BOOLEAN NOT NULL DEFAULT 0, two BOOL, letter BOOLEAN, word BOOLEAN DEFAULT 'false', mixed BOOLEAN,
  empty BOOLEAN, CHECK (sure IN (0, 1)));
INSERT INTO flags VALUES (1, 0, 0, 't', 'true', 1, NULL), (2, 1, 2, 'f', 'false', 't', NULL), (3, 1, NULL, 't', NULL, 'yes', NULL);
CREATE INDEX flags_sure ON flags (id) WHERE sure = 1;
CREATE UNIQUE INDEX flags_two ON flags (two) WHERE sure;
CREATE VIEW sure_flags AS SELECT id, two FROM flags WHERE sure = 1 AND NOT letter = 'x'"""

_TEXTS = r"""
CREATE TABLE texts (id INTEGER PRIMARY KEY, v TEXT, short VARCHAR(5), fixed CHAR(3));
INSERT INTO texts VALUES (1, '', '', ''), (2, NULL, NULL, NULL), (3, '\N', 'abc', 'a'), (4, char(9, 10, 13), '\.', 'b  '),
  (5, '  spaces  ', 'äöüßé', '日本語'), (6, 'quote '' and "', 'x' || char(10), NULL), (7, char(0x10ffff, 0xfeff, 0x2028), NULL, NULL),
  (8, replace(hex(zeroblob(100000)), '00', 'long '), 'longer than five', 'abcd');
CREATE TABLE spoilt (id INTEGER PRIMARY KEY, nul TEXT, invalid TEXT, ok TEXT);
INSERT INTO spoilt SELECT value, 'fine', 'fine', 'kept' FROM counted WHERE value <= 20;
INSERT INTO spoilt VALUES (21, CAST(x'610062' AS TEXT), 'fine', 'kept'), (22, 'fine', CAST(x'ff41' AS TEXT), 'kept'),
  (23, 'fine', CAST(x'eda080' AS TEXT), 'kept'), (24, CAST(x'00' AS TEXT), CAST(x'c0af' AS TEXT), 'kept');
CREATE TABLE mostly_spoilt (id INTEGER PRIMARY KEY, raw TEXT);
INSERT INTO mostly_spoilt VALUES (1, CAST(x'ff00' AS TEXT)), (2, CAST(x'fe' AS TEXT)), (3, 'a')"""

_BLOBS = """
CREATE TABLE blobs (id INTEGER PRIMARY KEY, b BLOB, t TEXT, any);
INSERT INTO blobs VALUES (1, x'', 'a', x'00'), (2, x'00ff', x'616263', x'01'), (3, 'text in a blob', 'b', x'02'), (4, NULL, NULL, NULL),
  (5, randomblob(300000), 'c', x'03'), (6, 5, 'd', x'04');
CREATE TABLE pure (k BLOB PRIMARY KEY, v LONGBLOB) WITHOUT ROWID;
INSERT INTO pure VALUES (x'00', x'5c78'), (x'5c', x'09'), (x'ff', NULL)"""

_TIMES = """
CREATE TABLE times (id INTEGER PRIMARY KEY, made DATETIME DEFAULT CURRENT_TIMESTAMP, iso TIMESTAMP, zoned TIMESTAMP, fine DATETIME, day DATE,
  day_time DATE, s DATETIME, ms DATETIME, us DATETIME, ns TIMESTAMP, julian DATETIME, webkit DATETIME, odd DATETIME, bare_s INTEGER);
INSERT INTO times SELECT value, datetime(1700000000 + value * 86399, 'unixepoch'),
  strftime('%Y-%m-%dT%H:%M:%S', 1700000000 + value, 'unixepoch'), strftime('%Y-%m-%d %H:%M:%S', 1700000000 + value, 'unixepoch') || '+02:00',
  strftime('%Y-%m-%d %H:%M:%S', 1700000000 + value, 'unixepoch') || printf('.%06d', value * 7919), date(1700000000 + value * 86400, 'unixepoch'),
  CASE WHEN value % 3 THEN date(1700000000 + value * 86400, 'unixepoch') ELSE datetime(1700000000 + value, 'unixepoch') END,
  1700000000 + value, 1700000000000 + value, 1700000000000000 + value, (1700000000000000 + value) * 1000,
  julianday(1700000000 + value * 3601, 'unixepoch'), 13344473600000000 + value, datetime(1700000000 + value, 'unixepoch'), 1700000000 + value
  FROM counted WHERE value <= 90;
UPDATE times SET odd = '' WHERE id = 1; UPDATE times SET odd = '0000-00-00 00:00:00' WHERE id = 2; UPDATE times SET odd = '2023-02-30' WHERE id = 3;
UPDATE times SET odd = '2023-01-01 24:00:00' WHERE id = 4; UPDATE times SET odd = NULL WHERE id = 5; UPDATE times SET odd = '2023-01-01T10:00Z' WHERE id = 6;
CREATE TABLE zones (id INTEGER PRIMARY KEY, z DATETIME, m DATETIME);
INSERT INTO zones VALUES (1, '2024-01-01T00:00:00Z', '2024-01-01 00:00:00'), (2, '2024-06-01T00:00:00.123456Z', '2024-01-01T00:00:00+05:30'),
  (3, '0001-01-01T00:00:00Z', '2024-01-01 00:00:00.5'), (4, '9999-12-31T23:59:59Z', '2024-01-01 00:00:00.123456789');
CREATE INDEX times_made ON times (made DESC);
CREATE VIEW recent AS SELECT id, made FROM times WHERE made > '2023-11-20 00:00:00'"""

_JSON = r"""
CREATE TABLE documents (id INTEGER PRIMARY KEY, good JSON, repeated JSON, broken JSON, big JSON DEFAULT '{}');
INSERT INTO documents VALUES (1, '{"b": 1, "a": [1, 2.50, null, true]}', '{"a": 1, "a": 2}', '{', '1e400'), (2, '[]', '{}', '', '{"x": 1e-400}'),
  (3, '"text é 🙂"', '{"u": "\u0000"}', 'NaN', '12345678901234567890123'), (4, NULL, NULL, NULL, '0.1000'), (5, ' {"z" : {}} ', '1', '{"ok": 1}', '-0')"""

_TYPES = """
CREATE TABLE odd_types (id INTEGER PRIMARY KEY, a LONGVARCHAR, b STRING, c INTEGER_OR_TEXT, d INTERGER, e LONGBLOB, f MONEY, g TINYINT(1),
  h UNSIGNED BIG INT, i, j "weird type", k CHARINT, l FLOATING POINT, m NVARCHAR(10), n NATIVE CHARACTER(70), o CLOB, p DOUBLE, q uuid, r inet);
INSERT INTO odd_types VALUES (1, 'a', 5, 1, 2, x'00', 1.25, 1, 3, 'any', 'w', 'ci', 1.5, 'n', 'nc', 'clob', 2, '6ba7b810-9dad-11d1-80b4-00c04fd430c8', '::1'),
  (2, 'b', '5', 'x', 3, x'01', 2, 0, 4, 5, 6, 7, 2, 'm', 'nd', 'c', 2.5, 'q', 'r');
CREATE TABLE strict (i INT PRIMARY KEY, r REAL NOT NULL, t TEXT, b BLOB, a ANY) STRICT;
INSERT INTO strict VALUES (1, 2, 'x', x'00', 1), (2, 2.5, NULL, NULL, 'x'), (3, 0, '', x'', x'01');
CREATE TABLE empty (id INTEGER PRIMARY KEY AUTOINCREMENT, a VARCHAR(10), b DECIMAL(8,3), c BOOLEAN, d DATE, e TIMESTAMP, f JSON, g BLOB, h REAL, i);
CREATE TABLE bare (a, b, c);
INSERT INTO bare VALUES (1, 1, 1), (1, 1, 1), (2, 'x', NULL), (2, 'x', NULL)"""

_DEFAULTS = """
CREATE TABLE defaults (id INTEGER PRIMARY KEY, a TEXT DEFAULT CURRENT_TIMESTAMP, b TEXT DEFAULT (datetime('now')), c INTEGER DEFAULT (strftime('%s','now')),
  d TEXT DEFAULT (lower(hex(randomblob(4)))), e TEXT DEFAULT "double-quoted", f INTEGER DEFAULT 0x10, g TEXT DEFAULT 'false', h TEXT DEFAULT 'null',
  i TEXT DEFAULT NULL, j INTEGER DEFAULT (1 + 2), k REAL DEFAULT 1, l NUMERIC DEFAULT 1.50, m BLOB DEFAULT x'00ff', n BOOLEAN DEFAULT TRUE,
  o TEXT DEFAULT 'it''s', p INTEGER DEFAULT -1, q INTEGER DEFAULT +5, r DATE DEFAULT CURRENT_DATE, s TEXT DEFAULT CURRENT_TIME, t TEXT DEFAULT 5,
  u DATETIME DEFAULT CURRENT_TIMESTAMP, v BOOLEAN DEFAULT 'f', w DECIMAL(10,2) DEFAULT '0.00', x DATETIME DEFAULT '0000-00-00 00:00:00',
  y INTEGER DEFAULT (abs(random()) % 10), z VARCHAR(3) DEFAULT 'long default');
INSERT INTO defaults (id) SELECT value FROM counted WHERE value <= 30"""

_KEYS = """
CREATE TABLE numbered (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT); INSERT INTO numbered VALUES (500, 'x'); DELETE FROM numbered;
INSERT INTO numbered VALUES (7, 'y');
CREATE TABLE plain_ids (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO plain_ids VALUES (-3, 'n'), (10, 'm');
CREATE TABLE int_key (id INT PRIMARY KEY, v TEXT); INSERT INTO int_key VALUES (1, 'a'), (2, 'b');
CREATE TABLE null_key (k TEXT PRIMARY KEY, v TEXT); INSERT INTO null_key VALUES (NULL, 'a'), (NULL, 'b'), ('k', 'c');
CREATE TABLE null_pair (a INT, b INT, v TEXT, PRIMARY KEY (a, b)); INSERT INTO null_pair VALUES (1, NULL, 'x'), (1, NULL, 'y'), (1, 2, 'z');
CREATE TABLE pair (b TEXT, a INTEGER, v TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID; INSERT INTO pair VALUES ('x', 1, 'v'), ('y', 1, 'w');
CREATE TABLE nocase_key (name TEXT PRIMARY KEY COLLATE NOCASE, v); INSERT INTO nocase_key VALUES ('Ab', 1), ('Ä', 2), ('ä', 3);
CREATE TABLE desc_key (id INTEGER PRIMARY KEY DESC, v); INSERT INTO desc_key VALUES (3, 'a'), (1, 'b');
CREATE TABLE text_key (id TEXT PRIMARY KEY NOT NULL, n INTEGER UNIQUE, a, b, UNIQUE (a, b), CONSTRAINT named UNIQUE (b, n));
INSERT INTO text_key VALUES ('a', 1, 1, 1), ('A', NULL, NULL, 1), ('b', NULL, NULL, 1);
CREATE TABLE digits_key (v PRIMARY KEY, w); INSERT INTO digits_key VALUES (1, 'integer'), ('1', 'text'), (1.5, 'real');
CREATE TABLE blob_key (k BLOB PRIMARY KEY, v); INSERT INTO blob_key VALUES (x'00', 1), (x'0000', 2);
CREATE TABLE real_key (k REAL PRIMARY KEY, v); INSERT INTO real_key VALUES (0.1, 1), (1, 2), (1e300, 3);
CREATE TABLE padded (k TEXT UNIQUE COLLATE RTRIM, v); INSERT INTO padded VALUES ('a', 1), ('b ', 2)"""

_CHECKS = """
CREATE TABLE checked (id INTEGER PRIMARY KEY, a INTEGER CHECK (a > 0), b TEXT CHECK (length(b) <= 10), c TEXT CHECK (c IN ('x', 'y')), d REAL, e BOOLEAN CHECK (e IN (0, 1)),
  f TEXT CHECK (f GLOB '[A-Z]*'), g TEXT CHECK (g LIKE 'a%'), h CHECK (typeof(h) = 'integer'), i TEXT CHECK (json_valid(i)), j DATETIME CHECK (j > '2000-01-01'),
  CONSTRAINT d_and_a CHECK (d IS NULL OR d >= a), CHECK (coalesce(b, c) IS NOT NULL), CHECK (a BETWEEN 1 AND 100 -- a comment (with a bracket
  ));
INSERT INTO checked VALUES (1, 1, 'b', 'x', 1.5, 1, 'Abc', 'abc', 5, '{}', '2020-01-01 00:00:00'), (2, 100, NULL, 'y', NULL, 0, NULL, NULL, 6, NULL, NULL);
CREATE TABLE lists (status TEXT NOT NULL DEFAULT 'new' CHECK (status IN ('new', 'old''s', "done")), n INT CHECK (n % 2 = 0), m INT CHECK (m <> 3 OR n > m));
INSERT INTO lists VALUES ('new', 2, 1), ('done', 4, 3)"""

_BROKEN_CHECK = """
CREATE TABLE broken (a INTEGER, b TEXT NOT NULL); INSERT INTO broken VALUES (5, 'x'), (-1, 'y');
CREATE TABLE nulls (a INTEGER, b TEXT); INSERT INTO nulls VALUES (1, NULL), (2, 'y');
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = 'CREATE TABLE broken (a INTEGER CHECK (a > 0), b TEXT NOT NULL)' WHERE name = 'broken';
UPDATE sqlite_schema SET sql = 'CREATE TABLE nulls (a INTEGER, b TEXT NOT NULL)' WHERE name = 'nulls';
PRAGMA writable_schema = RESET"""

_INDEXES = """
CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, price REAL, active BOOLEAN, body TEXT, kind INTEGER, made DATETIME);
INSERT INTO items SELECT value, 'Name ' || value, value * 1.1, value % 2, printf('%.' || (value * 40) || 'c', 'x'), value % 5, datetime(1700000000 + value, 'unixepoch')
  FROM counted WHERE value <= 100;
CREATE INDEX partial ON items (price) WHERE active = 1;
CREATE UNIQUE INDEX unique_partial ON items (kind, id) WHERE kind > 2 AND name IS NOT NULL;
CREATE INDEX expression ON items (lower(name));
CREATE INDEX computed ON items (price * 2, kind DESC);
CREATE INDEX descending ON items (price DESC, name);
CREATE INDEX nocase ON items (name COLLATE NOCASE);
CREATE UNIQUE INDEX unique_nocase ON items (name COLLATE NOCASE, id);
CREATE INDEX long_keys ON items (body);
CREATE INDEX by_date ON items (made) WHERE made > '2023-01-01';
CREATE INDEX duplicate ON items (price DESC, name);
CREATE INDEX substring ON items (substr(name, 1, 3));
CREATE INDEX on_json ON items (json_extract(body, '$.a')) WHERE json_valid(body);
CREATE INDEX rtrimmed ON items (name COLLATE RTRIM);
CREATE INDEX length_of ON items (length(body)) WHERE kind IN (1, 2, 3);
CREATE TABLE uniques (a INTEGER, b TEXT, deleted INTEGER);
CREATE UNIQUE INDEX one_alive ON uniques (a) WHERE deleted = 0;
INSERT INTO uniques VALUES (1, 'x', 0), (1, 'y', 1), (1, 'z', 1), (2, 'x', 0)"""

_FOREIGN = """
CREATE TABLE parents (id INTEGER PRIMARY KEY, code TEXT UNIQUE, a INT, b INT, UNIQUE (a, b));
CREATE TABLE children (id INTEGER PRIMARY KEY, implicit INTEGER REFERENCES parents, code TEXT REFERENCES parents(code) ON UPDATE CASCADE ON DELETE SET NULL,
  a INT, b INT, late INTEGER REFERENCES parents(id) DEFERRABLE INITIALLY DEFERRED, typo TEXT REFERENCES parents(id), gone INTEGER REFERENCES missing(id),
  loose INTEGER REFERENCES parents(a), FOREIGN KEY (a, b) REFERENCES parents(a, b) ON DELETE CASCADE);
INSERT INTO parents VALUES (1, 'one', 1, 1), (2, 'two', 1, 2), (3, NULL, NULL, NULL);
INSERT INTO children VALUES (1, 1, 'one', 1, 1, 2, '1', 9, 1), (2, NULL, 'two', 1, NULL, 3, '2', NULL, 1), (3, 2, NULL, 1, 2, NULL, NULL, 1, NULL);
CREATE TABLE tree (id INTEGER PRIMARY KEY, up INTEGER REFERENCES tree(id) ON DELETE CASCADE, name TEXT);
INSERT INTO tree VALUES (3, NULL, 'root'), (1, 3, 'child'), (2, 1, 'grandchild');
CREATE TABLE chicken (id INTEGER PRIMARY KEY, egg INTEGER NOT NULL REFERENCES egg(id)); CREATE TABLE egg (id INTEGER PRIMARY KEY, chicken INTEGER REFERENCES chicken(id));
INSERT INTO chicken VALUES (1, 1), (2, 2); INSERT INTO egg VALUES (1, 2), (2, 1);
CREATE TABLE orphans (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents(id), strict INTEGER NOT NULL REFERENCES tree(id));
INSERT INTO orphans VALUES (1, 1, 1), (2, 77, 2), (3, NULL, 88)"""

_GENERATED = """
CREATE TABLE generated (id INTEGER PRIMARY KEY, first TEXT, last TEXT, price REAL, amount INTEGER, made TEXT, body TEXT,
  full_name TEXT GENERATED ALWAYS AS (first || ' ' || last) STORED, total AS (price * amount), initials TEXT AS (substr(first, 1, 1) || substr(last, 1, 1)) VIRTUAL,
  long AS (length(full_name)), day TEXT AS (date(made)), kind TEXT AS (json_extract(body, '$.kind')), half INTEGER AS (amount / 2) STORED, big INT AS (amount > 5));
INSERT INTO generated (id, first, last, price, amount, made, body) SELECT value, 'F' || value, CASE WHEN value % 4 THEN 'L' || value END, value * 0.1, value,
  datetime(1700000000 + value * 86400, 'unixepoch'), json_object('kind', 'k' || value) FROM counted WHERE value <= 40;
CREATE INDEX generated_total ON generated (total);
CREATE UNIQUE INDEX generated_half ON generated (half, id)"""

_VIEWS = """
CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, born DATE, boss INTEGER REFERENCES people(id), pay REAL);
INSERT INTO people SELECT value, 'P' || value, date(500000000 + value * 86400 * 30, 'unixepoch'), CASE WHEN value > 1 THEN value / 2 END, value * 100.5 FROM counted WHERE value <= 50;
CREATE VIEW names AS SELECT id, name FROM people;
CREATE VIEW rich (who, how_much) AS SELECT upper(name), round(pay, 2) FROM people WHERE pay > 1000 ORDER BY pay DESC LIMIT 5;
CREATE VIEW bosses AS SELECT b.name AS boss, count(*) AS n, group_concat(p.name, ', ') AS staff, avg(p.pay) AS pay FROM people p JOIN people b ON b.id = p.boss GROUP BY b.id;
CREATE VIEW of_view AS SELECT * FROM rich WHERE how_much > 2000;
CREATE VIEW chain AS WITH RECURSIVE up(id, depth) AS (SELECT id, 0 FROM people WHERE boss IS NULL UNION ALL SELECT p.id, depth + 1 FROM people p JOIN up ON up.id = p.boss) SELECT * FROM up;
CREATE VIEW ranked AS SELECT name, row_number() OVER (ORDER BY pay DESC) AS place FROM people;
CREATE VIEW caseless AS SELECT id FROM people WHERE name = 'p5';
CREATE VIEW iffy AS SELECT iif(pay > 500, 'much', 'little') AS what, ifnull(boss, 0) AS boss, strftime('%Y', born) AS year FROM people;
CREATE VIEW sloppy AS SELECT name, max(pay), boss FROM people GROUP BY boss;
CREATE VIEW broken_view AS SELECT absent FROM nowhere;
CREATE TRIGGER audit AFTER UPDATE ON people BEGIN UPDATE people SET pay = NEW.pay WHERE id = NEW.id; END;
CREATE TRIGGER instead INSTEAD OF INSERT ON names BEGIN INSERT INTO people (name) VALUES (NEW.name); END;
CREATE TRIGGER guard BEFORE DELETE ON people WHEN OLD.boss IS NULL BEGIN SELECT RAISE(ABORT, 'not the boss; never'); END"""

_VIRTUAL = """
CREATE TABLE posts (id INTEGER PRIMARY KEY, title TEXT, body TEXT); INSERT INTO posts SELECT value, 'Title ' || value, 'Body ' || value FROM counted WHERE value <= 30;
CREATE VIRTUAL TABLE posts_fts USING fts5(title, body, content='posts', content_rowid='id');
CREATE VIRTUAL TABLE own_fts USING fts5(text); INSERT INTO own_fts SELECT body FROM posts;
CREATE VIRTUAL TABLE old_fts USING fts4(text); INSERT INTO old_fts VALUES ('x'), ('y');
CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1, y0, y1); INSERT INTO boxes VALUES (1, 0, 1, 0, 1);
CREATE TABLE own_fts_notes (id INTEGER PRIMARY KEY, note TEXT); INSERT INTO own_fts_notes VALUES (1, 'an ordinary table');
CREATE TRIGGER posts_ai AFTER INSERT ON posts BEGIN INSERT INTO posts_fts (rowid, title, body) VALUES (new.id, new.title, new.body); END;
PRAGMA writable_schema = ON;
INSERT INTO sqlite_schema VALUES ('table', 'lost', 'lost', 0, 'CREATE VIRTUAL TABLE lost USING no_such_module(a, b)');
PRAGMA writable_schema = RESET"""

_NAMES = """
CREATE TABLE "order" ("select" INTEGER PRIMARY KEY, "group" TEXT, "with space" TEXT, "dot.dot" TEXT, "quote""d" TEXT, [bracket] TEXT, `tick` TEXT, "ünïcode" TEXT, "" TEXT);
INSERT INTO "order" VALUES (1, 'g', 's', 'd', 'q', 'b', 't', 'u', 'empty');
CREATE TABLE system (ctid TEXT, xmin INTEGER, tableoid TEXT, oid TEXT); INSERT INTO system VALUES ('c', 1, 't', 'o');
CREATE TABLE MixedCase (Id INTEGER PRIMARY KEY, "lower" TEXT, UPPER TEXT); INSERT INTO mixedcase VALUES (1, 'l', 'U');
CREATE TABLE "a very long name of a table that has certainly more than sixty-three bytes in it, one" (id INTEGER PRIMARY KEY, "a very long name of a column that has certainly more than sixty-three bytes, one" TEXT,
  "a very long name of a column that has certainly more than sixty-three bytes, two" TEXT);
CREATE TABLE "a very long name of a table that has certainly more than sixty-three bytes in it, two" (id INTEGER PRIMARY KEY);
INSERT INTO "a very long name of a table that has certainly more than sixty-three bytes in it, one" VALUES (1, 'one', 'two');
INSERT INTO "a very long name of a table that has certainly more than sixty-three bytes in it, two" VALUES (2);
CREATE TABLE idx (a INTEGER); CREATE TABLE other (a INTEGER, b INTEGER); CREATE INDEX other_pkey ON other (a); CREATE INDEX idx_a_seq ON other (b);
INSERT INTO other VALUES (1, 2);
CREATE TABLE "x'; DROP TABLE other; --" ("y'); DROP TABLE idx; --" TEXT DEFAULT '''); DROP', "%s" TEXT, "{}" TEXT); INSERT INTO "x'; DROP TABLE other; --" VALUES ('%s', '{0}', '$1');
CREATE TABLE rowids (rowid TEXT, _rowid_ TEXT, v INTEGER); INSERT INTO rowids VALUES ('r', 'u', 1), ('r', 'u', 1);
CREATE TABLE "tab	newline
" (a INTEGER); INSERT INTO "tab	newline
" VALUES (1)"""


def _wide(_: Workshop, to: Path) -> None:
    """Tables of 1,600 and of 1,700 columns (PostgreSQL has at most 1,600), and 300 small ones."""
    connection = apsw.Connection(str(to))
    with connection:
        for name, width in (("fits", 1600), ("too_wide", 1700)):
            connection.execute(f"CREATE TABLE {name} ({', '.join(f'c{n} INTEGER' for n in range(width))})")
            connection.execute(f"INSERT INTO {name} (c0, c{width - 1}) VALUES (1, 2), (3, 4)")
        for n in range(300):
            connection.execute(f"CREATE TABLE small_{n:03} (id INTEGER PRIMARY KEY, v TEXT)")
            connection.execute(f"INSERT INTO small_{n:03} VALUES (1, 'v{n}')")
    connection.close()


def _large(_: Workshop, to: Path) -> None:
    """Long values and many rows: 40 MB."""
    connection = apsw.Connection(str(to))
    with connection:
        connection.execute("CREATE TABLE long (id INTEGER PRIMARY KEY, t TEXT, b BLOB)")
        connection.execute("INSERT INTO long VALUES (1, ?, zeroblob(10000000)), (2, '', x'')", ["ä" * 5_000_000])
        connection.execute("CREATE TABLE many (id INTEGER PRIMARY KEY, r REAL, t TEXT, d DATETIME)")
        connection.execute(
            "INSERT INTO many WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s LIMIT 250000)"
            " SELECT n, n / 7.0, 'row ' || n, datetime(1500000000 + n, 'unixepoch') FROM s"
        )
    connection.close()


CRAFTED: tuple[tuple[str, Way], ...] = (
    ("crafted_utf16le", script(_UTF16, "UTF-16le")),
    ("crafted_utf16be", script(_UTF16, "UTF-16be")),
    ("crafted_numbers", script(_NUMBERS)),
    ("crafted_booleans", script(_BOOLEANS)),
    ("crafted_texts", script(_TEXTS)),
    ("crafted_blobs", script(_BLOBS)),
    ("crafted_times", script(_TIMES)),
    ("crafted_json", script(_JSON)),
    ("crafted_types", script(_TYPES)),
    ("crafted_defaults", script(_DEFAULTS)),
    ("crafted_keys", script(_KEYS)),
    ("crafted_checks", script(_CHECKS)),
    ("crafted_broken_check", script(_BROKEN_CHECK)),
    ("crafted_indexes", script(_INDEXES)),
    ("crafted_foreign_keys", script(_FOREIGN)),
    ("crafted_generated", script(_GENERATED)),
    ("crafted_views", script(_VIEWS)),
    ("crafted_virtual", script(_VIRTUAL)),
    ("crafted_names", script(_NAMES)),
    ("crafted_wide", _wide),
    ("crafted_large", _large),
)
