"""The databases of well-known applications in small, written from what is public about their schemas."""

from __future__ import annotations

from tests.corpus.crafted import script
from tests.corpus.fetching import Way

_RAILS = """
CREATE TABLE schema_migrations (version varchar NOT NULL PRIMARY KEY); INSERT INTO schema_migrations VALUES ('20190101000000'), ('20200101000000');
CREATE TABLE ar_internal_metadata ("key" varchar NOT NULL PRIMARY KEY, "value" varchar, "created_at" datetime(6) NOT NULL, "updated_at" datetime(6) NOT NULL);
INSERT INTO ar_internal_metadata VALUES ('environment', 'production', '2020-01-01 00:00:00.123456', '2020-01-01 00:00:00.123456');
CREATE TABLE "users" ("id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, "email" varchar DEFAULT '' NOT NULL, "admin" boolean DEFAULT 'f' NOT NULL, "confirmed" boolean DEFAULT 0,
  "score" decimal(8,2) DEFAULT 0.0, "settings" json DEFAULT '{}', "last_sign_in_ip" inet, "born_on" date, "created_at" datetime NOT NULL, "updated_at" datetime(6) NOT NULL);
INSERT INTO users (email, admin, confirmed, score, born_on, created_at, updated_at) SELECT 'user' || value || '@example.com', CASE value % 2 WHEN 0 THEN 't' ELSE 'f' END, value % 2,
  value * 0.25, date(value * 86400 * 100, 'unixepoch'), strftime('%Y-%m-%d %H:%M:%S', 1500000000 + value, 'unixepoch') || '.' || printf('%06d', value), datetime(1500000000 + value, 'unixepoch') FROM counted WHERE value <= 80;
CREATE UNIQUE INDEX "index_users_on_email" ON "users" ("email"); CREATE INDEX index_users_on_admin ON users (created_at) WHERE admin = 't';
CREATE TABLE "posts" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "user_id" integer NOT NULL, "title" varchar(80), "body" text, "commentable_type" varchar, "commentable_id" integer,
  "lock_version" integer DEFAULT 0, CONSTRAINT "fk_rails_5b5ddfd518" FOREIGN KEY ("user_id") REFERENCES "users" ("id"));
INSERT INTO posts (user_id, title, body) SELECT 1 + value % 80, 'Post ' || value, 'Body' || char(13, 10) || value FROM counted WHERE value <= 200;
CREATE INDEX index_posts_on_user_id ON posts (user_id); CREATE INDEX index_posts_poly ON posts (commentable_type, commentable_id)"""

_DJANGO = """
CREATE TABLE "django_migrations" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "app" varchar(255) NOT NULL, "name" varchar(255) NOT NULL, "applied" datetime NOT NULL);
INSERT INTO django_migrations (app, name, applied) VALUES ('auth', '0001_initial', '2020-01-01 00:00:00.123456');
CREATE TABLE "shop_product" ("id" char(32) NOT NULL PRIMARY KEY, "name" varchar(200) NOT NULL, "price" decimal NOT NULL, "stock" integer unsigned NOT NULL CHECK ("stock" >= 0), "active" bool NOT NULL,
  "attributes" text NOT NULL CHECK ((JSON_VALID("attributes") OR "attributes" IS NULL)), "duration" bigint NOT NULL, "available" time NULL, "day" date NULL, "ip" char(39) NULL, "added" datetime NOT NULL, "parent_id" char(32) NULL REFERENCES "shop_product" ("id") DEFERRABLE INITIALLY DEFERRED);
INSERT INTO shop_product SELECT printf('%032x', value), 'Product ' || value, value * 1.01, value, value % 2, '{"n": ' || value || '}', value * 1000000, '10:00:00', date(1500000000 + value * 86400, 'unixepoch'),
  '192.0.2.' || value, strftime('%Y-%m-%d %H:%M:%S', 1500000000 + value, 'unixepoch') || '.5', CASE WHEN value > 1 THEN printf('%032x', value - 1) END FROM counted WHERE value <= 100;
CREATE INDEX "shop_product_parent" ON "shop_product" ("parent_id"); CREATE UNIQUE INDEX "one_active" ON "shop_product" ("name") WHERE "active";
CREATE TABLE "auth_user_groups" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "user_id" integer NOT NULL, "group_id" integer NOT NULL, CONSTRAINT "pair" UNIQUE ("user_id", "group_id"), CONSTRAINT "not_self" CHECK (NOT ("user_id" = ("group_id"))));
INSERT INTO auth_user_groups (user_id, group_id) SELECT value, value + 1 FROM counted WHERE value <= 50;
CREATE TABLE "django_session" ("session_key" varchar(40) NOT NULL PRIMARY KEY, "session_data" text NOT NULL, "expire_date" datetime NOT NULL); INSERT INTO django_session VALUES ('k', 'eyJ9:x', '2030-01-01 00:00:00');
CREATE INDEX "django_session_expire" ON "django_session" ("expire_date")"""

_CORE_DATA = """
CREATE TABLE Z_PRIMARYKEY (Z_ENT INTEGER PRIMARY KEY, Z_NAME VARCHAR, Z_SUPER INTEGER, Z_MAX INTEGER); INSERT INTO Z_PRIMARYKEY VALUES (1, 'Note', 0, 120);
CREATE TABLE Z_METADATA (Z_VERSION INTEGER PRIMARY KEY, Z_UUID VARCHAR(255), Z_PLIST BLOB); INSERT INTO Z_METADATA VALUES (1, '6E5A3C2B-0000-0000-0000-000000000000', x'62706c697374303000');
CREATE TABLE Z_MODELCACHE (Z_CONTENT BLOB);
CREATE TABLE ZNOTE (Z_PK INTEGER PRIMARY KEY, Z_ENT INTEGER, Z_OPT INTEGER, ZPINNED INTEGER, ZFOLDER INTEGER, ZCREATED TIMESTAMP, ZMODIFIED TIMESTAMP, ZTITLE VARCHAR, ZLATITUDE FLOAT, ZPRICE DECIMAL, ZDATA BLOB);
INSERT INTO ZNOTE SELECT value, 1, 1, value % 2, NULL, 500000000 + value * 1.5, 600000000.123456 + value, 'Note ' || value, value / 3.0, value, randomblob(16) FROM counted WHERE value <= 120;
CREATE INDEX ZNOTE_ZFOLDER_INDEX ON ZNOTE (ZFOLDER); CREATE INDEX Z_Note_modified ON ZNOTE (ZMODIFIED COLLATE BINARY DESC);
CREATE TABLE Z_1TAGS (Z_1NOTES INTEGER, Z_2TAGS INTEGER, PRIMARY KEY (Z_1NOTES, Z_2TAGS)); INSERT INTO Z_1TAGS SELECT value, value % 7 FROM counted WHERE value <= 60"""

_CHROME = """
CREATE TABLE meta (key LONGVARCHAR NOT NULL UNIQUE PRIMARY KEY, value LONGVARCHAR); INSERT INTO meta VALUES ('version', '48'), ('mmap_status', -1);
CREATE TABLE urls (id INTEGER PRIMARY KEY AUTOINCREMENT, url LONGVARCHAR, title LONGVARCHAR, visit_count INTEGER DEFAULT 0 NOT NULL, typed_count INTEGER DEFAULT 0 NOT NULL, last_visit_time INTEGER NOT NULL, hidden INTEGER DEFAULT 0 NOT NULL);
INSERT INTO urls SELECT value, 'http://example.com/' || value, 'Page ' || value, value, 0, 13344473600000000 + value * 1000003, 0 FROM counted;
CREATE TABLE visits (id INTEGER PRIMARY KEY, url INTEGER NOT NULL, visit_time INTEGER NOT NULL, from_visit INTEGER, transition INTEGER DEFAULT 0 NOT NULL, segment_id INTEGER, visit_duration INTEGER DEFAULT 0 NOT NULL, incremented_omnibox_typed_score BOOLEAN DEFAULT FALSE NOT NULL);
INSERT INTO visits SELECT value, 1 + value % 300, 13344473600000000 + value * 7, 0, 805306368, NULL, value * 1000, value % 2 FROM counted;
CREATE TABLE downloads (id INTEGER PRIMARY KEY, guid VARCHAR NOT NULL, current_path LONGVARCHAR NOT NULL, start_time INTEGER NOT NULL, received_bytes INTEGER NOT NULL, hash BLOB NOT NULL, etag VARCHAR NOT NULL);
INSERT INTO downloads VALUES (1, 'g', '/tmp/x', 13344473600000000, 5000000000, x'', '"abc"');
CREATE TABLE keyword_search_terms (keyword_id INTEGER NOT NULL, url_id INTEGER NOT NULL, term LONGVARCHAR NOT NULL, normalized_term LONGVARCHAR NOT NULL);
CREATE TABLE cookies (creation_utc INTEGER NOT NULL, host_key TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, encrypted_value BLOB NOT NULL, expires_utc INTEGER NOT NULL, is_secure INTEGER NOT NULL, UNIQUE (host_key, name));
INSERT INTO cookies VALUES (13344473600000000, '.example.com', 'sid', '', x'763130ff', 0, 1);
CREATE INDEX urls_url_index ON urls (url); CREATE INDEX visits_time_index ON visits (visit_time); CREATE UNIQUE INDEX cookies_unique ON cookies (host_key, name, creation_utc)"""

_FIREFOX = """
CREATE TABLE moz_origins (id INTEGER PRIMARY KEY, prefix TEXT NOT NULL, host TEXT NOT NULL, frecency INTEGER NOT NULL, UNIQUE (prefix, host)); INSERT INTO moz_origins SELECT value, 'https://', 'host' || value, value * 10 FROM counted WHERE value <= 20;
CREATE TABLE moz_places (id INTEGER PRIMARY KEY, url LONGVARCHAR, title LONGVARCHAR, rev_host LONGVARCHAR, visit_count INTEGER DEFAULT 0, hidden INTEGER DEFAULT 0 NOT NULL, typed INTEGER DEFAULT 0 NOT NULL, frecency INTEGER DEFAULT -1 NOT NULL, last_visit_date INTEGER,
  guid TEXT, foreign_count INTEGER DEFAULT 0 NOT NULL, url_hash INTEGER DEFAULT 0 NOT NULL, origin_id INTEGER REFERENCES moz_origins(id));
INSERT INTO moz_places SELECT value, 'https://host/' || value, 'Title', 'tsoh.', 1, 0, 0, -1, 1700000000000000 + value, 'guid' || value, 0, 47356370932282 + value * 4294967296, 1 + value % 20 FROM counted;
CREATE TABLE moz_bookmarks (id INTEGER PRIMARY KEY, type INTEGER, fk INTEGER DEFAULT NULL, parent INTEGER, position INTEGER, title LONGVARCHAR, dateAdded INTEGER, lastModified INTEGER, guid TEXT, syncStatus INTEGER NOT NULL DEFAULT 0);
INSERT INTO moz_bookmarks SELECT value, 1, value, 0, value, NULL, 1700000000000000 + value, 1700000000000000, 'b' || value, 1 FROM counted WHERE value <= 30;
CREATE TABLE moz_annos (id INTEGER PRIMARY KEY, place_id INTEGER NOT NULL, content LONGVARCHAR, flags INTEGER DEFAULT 0, UNIQUE (place_id, flags)); CREATE TABLE moz_meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
INSERT INTO moz_meta VALUES ('origin_frecency_sum', 1.5), ('count', 300), ('name', 'x');
CREATE UNIQUE INDEX moz_places_guid_uniqueindex ON moz_places (guid); CREATE INDEX moz_places_hashindex ON moz_places (url_hash); CREATE INDEX moz_places_lastvisit ON moz_places (last_visit_date);
CREATE TRIGGER moz_places_afterdelete AFTER DELETE ON moz_places FOR EACH ROW BEGIN DELETE FROM moz_annos WHERE place_id = OLD.id; END;
CREATE VIRTUAL TABLE moz_search USING fts5(title)"""

_SIGNAL = """
CREATE TABLE recipient (_id INTEGER PRIMARY KEY AUTOINCREMENT, uuid TEXT UNIQUE DEFAULT NULL, phone TEXT UNIQUE DEFAULT NULL, blocked INTEGER DEFAULT 0, capabilities INTEGER DEFAULT 0, profile_key TEXT, last_seen INTEGER DEFAULT 0);
INSERT INTO recipient (_id, uuid, phone, last_seen) SELECT value, 'uuid' || value, CASE WHEN value % 3 THEN '+4912345' || value END, 1700000000000 + value FROM counted WHERE value <= 40;
CREATE TABLE message (_id INTEGER PRIMARY KEY AUTOINCREMENT, date_sent INTEGER NOT NULL, date_received INTEGER NOT NULL, from_id INTEGER NOT NULL REFERENCES recipient (_id) ON DELETE CASCADE, quote_id INTEGER DEFAULT 0, body TEXT, type INTEGER, json TEXT, ranges BLOB DEFAULT NULL,
  isErased INTEGER AS (json_extract(json, '$.isErased')), hasQuote INTEGER GENERATED ALWAYS AS (iif(quote_id > 0, 1, 0)) VIRTUAL, source TEXT AS (json_extract(json, '$.source')));
INSERT INTO message (date_sent, date_received, from_id, body, type, json) SELECT 1700000000000 + value, 1700000000100 + value, 1 + value % 40, 'Hi 👋 ' || value, 10485780, json_object('isErased', value % 2, 'source', 'phone') FROM counted;
CREATE INDEX message_date ON message (date_received DESC, _id) WHERE type > 0; CREATE UNIQUE INDEX message_unique ON message (date_sent, from_id); CREATE INDEX message_erased ON message (isErased) WHERE isErased = 1;
CREATE VIRTUAL TABLE message_fts USING fts5(body, content=message, content_rowid=_id); CREATE TABLE items (id TEXT PRIMARY KEY, json TEXT); INSERT INTO items VALUES ('version', '{"value": 1}');
CREATE TRIGGER message_ai AFTER INSERT ON message BEGIN INSERT INTO message_fts (rowid, body) VALUES (new._id, new.body); END"""

_WHATSAPP = """
CREATE TABLE jid (_id INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, server TEXT NOT NULL, agent INTEGER, device INTEGER, type INTEGER, raw_string TEXT); INSERT INTO jid (user, server, raw_string) SELECT '49' || value, 's.whatsapp.net', '49' || value || '@s' FROM counted WHERE value <= 30;
CREATE TABLE chat (_id INTEGER PRIMARY KEY AUTOINCREMENT, jid_row_id INTEGER UNIQUE, hidden INTEGER, created_timestamp INTEGER, archived INTEGER DEFAULT 0, sort_timestamp INTEGER, mod_tag INTEGER, gen REAL); INSERT INTO chat (jid_row_id, created_timestamp, sort_timestamp, gen) SELECT value, 1700000000000, 1700000000000 + value, value FROM counted WHERE value <= 30;
CREATE TABLE messages (_id INTEGER PRIMARY KEY AUTOINCREMENT, key_remote_jid TEXT NOT NULL, key_from_me INTEGER, key_id TEXT NOT NULL, data TEXT, timestamp INTEGER, media_size INTEGER, latitude REAL, longitude REAL, thumb_image TEXT, raw_data BLOB, starred INTEGER);
INSERT INTO messages (key_remote_jid, key_from_me, key_id, data, timestamp, latitude, thumb_image, raw_data) SELECT '49@s', value % 2, 'K' || value, 'text ' || value, 1700000000000 + value, 0.0, CASE WHEN value % 10 = 0 THEN x'aced0005' END, NULL FROM counted;
CREATE UNIQUE INDEX messages_key ON messages (key_remote_jid, key_from_me, key_id); CREATE UNIQUE INDEX jid_unique ON jid (user, server, agent, device, type);
CREATE VIEW chat_view AS SELECT c._id AS _id, j.raw_string AS raw_string_jid, c.hidden AS hidden, c.sort_timestamp AS sort_timestamp FROM chat c LEFT JOIN jid j ON c.jid_row_id = j._id;
CREATE VIEW available_message_view AS SELECT *, (SELECT user FROM jid WHERE _id = key_from_me) AS who FROM messages WHERE starred IS NULL OR starred = 0;
CREATE TRIGGER messages_bd BEFORE DELETE ON messages BEGIN DELETE FROM chat WHERE _id = -1; END; CREATE TABLE props (_id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE, value TEXT); INSERT INTO props (key, value) VALUES ('a', 1), ('b', 'x')"""

_OLD_ANKI = """
CREATE TABLE col (id integer primary key, crt integer not null, mod integer not null, scm integer not null, ver integer not null, conf text not null, models text not null); INSERT INTO col VALUES (1, 1300000000, 1700000000123, 1700000000000, 11, '{"nextPos": 1}', '{}');
CREATE TABLE notes (id integer primary key, guid text not null, mid integer not null, mod integer not null, usn integer not null, tags text not null, flds text not null, sfld integer not null, csum integer not null, flags integer not null, data text not null);
INSERT INTO notes SELECT 1500000000000 + value, 'guid' || value, 1, 1500000000, -1, '', 'front' || value || char(31) || 'back', CASE value % 3 WHEN 0 THEN value ELSE 'front ' || value END, value * 1000, 0, '' FROM counted WHERE value <= 120;
CREATE TABLE cards (id integer primary key, nid integer not null, did integer not null, ord integer not null, due integer not null, ivl integer not null, data text not null); INSERT INTO cards SELECT 1600000000000 + value, 1500000000000 + value, 1, 0, value, 0, '' FROM counted WHERE value <= 120;
CREATE TABLE revlog (id integer primary key, cid integer not null, ease integer not null); CREATE TABLE graves (usn integer not null, oid integer not null, type integer not null);
CREATE INDEX ix_notes_usn on notes (usn); CREATE INDEX ix_cards_nid on cards (nid); CREATE INDEX ix_notes_csum on notes (csum)"""

_ZOTERO = """
CREATE TABLE libraries (libraryID INTEGER PRIMARY KEY, type TEXT NOT NULL, editable INT NOT NULL, version INT NOT NULL DEFAULT 0); INSERT INTO libraries VALUES (1, 'user', 1, 0);
CREATE TABLE itemTypes (itemTypeID INTEGER PRIMARY KEY, typeName TEXT, display INT DEFAULT 1); INSERT INTO itemTypes VALUES (1, 'note', 1), (2, 'book', 1);
CREATE TABLE items (itemID INTEGER PRIMARY KEY, itemTypeID INT NOT NULL, dateAdded TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, dateModified TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, libraryID INT NOT NULL, key TEXT NOT NULL, synced INT NOT NULL DEFAULT 0,
  UNIQUE (libraryID, key), FOREIGN KEY (libraryID) REFERENCES libraries(libraryID) ON DELETE CASCADE, FOREIGN KEY (itemTypeID) REFERENCES itemTypes(itemTypeID));
INSERT INTO items (itemID, itemTypeID, libraryID, key) SELECT value, 1 + value % 2, 1, 'KEY' || value FROM counted WHERE value <= 150;
CREATE TABLE itemDataValues (valueID INTEGER PRIMARY KEY, value UNIQUE); INSERT INTO itemDataValues VALUES (1, 'Title'), (2, 2019), (3, '2019'), (4, 3.5);
CREATE TABLE itemData (itemID INT, fieldID INT, valueID, PRIMARY KEY (itemID, fieldID), FOREIGN KEY (itemID) REFERENCES items(itemID) ON DELETE CASCADE, FOREIGN KEY (valueID) REFERENCES itemDataValues(valueID)); INSERT INTO itemData VALUES (1, 1, 1), (2, 1, 2);
CREATE TABLE settings (setting TEXT, key TEXT, value, PRIMARY KEY (setting, key)); INSERT INTO settings VALUES ('account', 'userID', 12345), ('account', 'name', 'x');
CREATE TABLE fulltextWords (wordID INTEGER PRIMARY KEY, word TEXT UNIQUE); CREATE INDEX itemData_valueID ON itemData (valueID);
CREATE TRIGGER fki_items BEFORE INSERT ON items FOR EACH ROW BEGIN SELECT RAISE(ABORT, 'no') WHERE NEW.libraryID IS NULL; END"""

_PLEX = """
CREATE TABLE "metadata_items" ("id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, "library_section_id" integer, "guid" varchar(255), "title" varchar(255) COLLATE NOCASE, "title_sort" varchar(255) collate icu_root, "rating" float, "duration" integer, "added_at" dt_integer(8), "originally_available_at" datetime, "tags_genre" varchar(255), "extra_data" varchar(255), 'absolute_index' integer, 'hash' varchar(255));
INSERT INTO metadata_items (library_section_id, guid, title, rating, duration, added_at, originally_available_at) SELECT 1, 'plex://movie/' || value, 'Movie ' || value, value / 30.0, value * 60000, 1500000000 + value, datetime(1000000000 + value * 86400, 'unixepoch') FROM counted WHERE value <= 200;
CREATE INDEX 'index_title' ON 'metadata_items' ('title' COLLATE NOCASE); CREATE INDEX 'index_added' ON 'metadata_items' ('added_at'); CREATE TABLE 'media_parts' ('id' INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, 'file' varchar(255), 'size' integer(8), 'deleted_at' datetime, 'extra' varchar(255));
INSERT INTO media_parts (file, size) SELECT '/movies/' || value || '.mkv', value * 1000000000 FROM counted; CREATE UNIQUE INDEX 'u' ON 'media_parts' ('file')"""

_SONARR = """
CREATE TABLE "VersionInfo" ("Version" INTEGER NOT NULL, "AppliedOn" DATETIME, "Description" TEXT); CREATE UNIQUE INDEX "UC_Version" ON "VersionInfo" ("Version" ASC); INSERT INTO VersionInfo VALUES (1, '2020-01-01T00:00:00', 'x');
CREATE TABLE "Series" ("Id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "TvdbId" INTEGER NOT NULL, "Title" TEXT NOT NULL, "TitleSlug" TEXT, "Monitored" INTEGER NOT NULL, "Images" TEXT NOT NULL, "LastInfoSync" DATETIME, "Ratings" TEXT, "FirstAired" DATETIME, "AirTime" TEXT, "UseSceneNumbering" INTEGER NOT NULL);
INSERT INTO Series (TvdbId, Title, TitleSlug, Monitored, Images, LastInfoSync, FirstAired, UseSceneNumbering) SELECT value, 'Series ' || value, 's' || value, 1, '[]', strftime('%Y-%m-%dT%H:%M:%S', 1600000000 + value, 'unixepoch') || '.1234567Z', date(1600000000, 'unixepoch') || ' 00:00:00Z', 0 FROM counted WHERE value <= 90;
CREATE UNIQUE INDEX "IX_Series_TvdbId" ON "Series" ("TvdbId" ASC); CREATE UNIQUE INDEX "IX_Series_TitleSlug" ON "Series" ("TitleSlug" ASC); CREATE TABLE "Config" ("Id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "Key" TEXT NOT NULL, "Value" TEXT NOT NULL); CREATE UNIQUE INDEX "IX_Config_Key" ON "Config" ("Key" ASC);
CREATE TABLE "History" ("Id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "Date" DATETIME NOT NULL, "Data" TEXT NOT NULL, "Quality" TEXT); INSERT INTO History (Date, Data) SELECT strftime('%Y-%m-%d %H:%M:%S', 1600000000 + value, 'unixepoch') || '.123Z', '{"n": "' || value || '"}' FROM counted; CREATE INDEX "IX_History_Date" ON "History" ("Date" DESC)"""

_HOME_ASSISTANT = """
CREATE TABLE event_types (event_type_id INTEGER NOT NULL, event_type VARCHAR(64), PRIMARY KEY (event_type_id)); INSERT INTO event_types VALUES (1, 'state_changed'), (2, 'call_service');
CREATE TABLE states_meta (metadata_id INTEGER NOT NULL, entity_id VARCHAR(255), PRIMARY KEY (metadata_id)); INSERT INTO states_meta SELECT value, 'sensor.s' || value FROM counted WHERE value <= 20;
CREATE TABLE states (state_id INTEGER NOT NULL, entity_id CHAR(0), state VARCHAR(255), attributes CHAR(0), event_id SMALLINT, last_changed CHAR(0), last_changed_ts FLOAT, last_updated_ts FLOAT, old_state_id INTEGER, context_id_bin BLOB, metadata_id INTEGER, PRIMARY KEY (state_id), FOREIGN KEY(old_state_id) REFERENCES states (state_id), FOREIGN KEY(metadata_id) REFERENCES states_meta (metadata_id));
INSERT INTO states SELECT value, NULL, value * 0.5, NULL, NULL, NULL, NULL, 1700000000.123456 + value, CASE WHEN value > 1 THEN value - 1 END, randomblob(16), 1 + value % 20 FROM counted;
CREATE TABLE statistics (id INTEGER NOT NULL, created DATETIME, created_ts FLOAT, metadata_id INTEGER, start_ts FLOAT, mean FLOAT, min FLOAT, state FLOAT, sum FLOAT, PRIMARY KEY (id), FOREIGN KEY(metadata_id) REFERENCES states_meta (metadata_id) ON DELETE CASCADE); INSERT INTO statistics SELECT value, NULL, 1700000000.5 + value, 1 + value % 20, 1700000000 + value * 3600, value / 7.0, NULL, 0.1, value FROM counted;
CREATE UNIQUE INDEX ix_statistics_unique ON statistics (metadata_id, start_ts); CREATE INDEX ix_states_context ON states (context_id_bin); CREATE INDEX ix_states_ts ON states (metadata_id, last_updated_ts)"""

_KODI = """
CREATE TABLE version (idVersion integer, iCompressCount integer); INSERT INTO version VALUES (119, 0); CREATE TABLE path (idPath integer primary key, strPath text, dateAdded text, exclude bool, allAudio bool); INSERT INTO path SELECT value, '/v/' || value, '', NULL, value % 2 FROM counted WHERE value <= 30;
CREATE TABLE files (idFile integer primary key, idPath integer, strFilename text, playCount integer, lastPlayed text, dateAdded text); INSERT INTO files SELECT value, 1 + value % 30, value || '.mkv', NULL, NULL, datetime(1500000000 + value, 'unixepoch') FROM counted WHERE value <= 100;
CREATE TABLE movie (idMovie integer primary key, idFile integer, c00 text, c01 text, c05 text, premiered text, userrating integer); INSERT INTO movie SELECT value, value, 'Movie ' || value, 'plot', value, '2001-01-01', NULL FROM counted WHERE value <= 100;
CREATE TABLE rating (rating_id integer primary key, media_id integer, media_type text, rating_type text, rating float, votes integer); INSERT INTO rating SELECT value, value, 'movie', 'default', value / 11.0, value FROM counted WHERE value <= 100;
CREATE UNIQUE INDEX ix_movie_file_1 ON movie (idFile, idMovie); CREATE INDEX ix_path ON path (strPath); CREATE UNIQUE INDEX ix_files ON files (idPath, strFilename);
CREATE VIEW movie_view AS SELECT movie.*, files.strFilename AS strFileName, path.strPath AS strPath, files.playCount AS playCount, rating.rating AS rating FROM movie LEFT JOIN files ON files.idFile = movie.idFile LEFT JOIN path ON path.idPath = files.idPath LEFT JOIN rating ON rating.media_id = movie.idMovie AND rating.media_type = 'movie';
CREATE TRIGGER delete_movie AFTER DELETE ON movie FOR EACH ROW BEGIN DELETE FROM rating WHERE media_id = old.idMovie; END"""

_EF_CORE = """
CREATE TABLE "__EFMigrationsHistory" ("MigrationId" TEXT NOT NULL CONSTRAINT "PK___EFMigrationsHistory" PRIMARY KEY, "ProductVersion" TEXT NOT NULL); INSERT INTO __EFMigrationsHistory VALUES ('2020_Init', '8.0.0');
CREATE TABLE "AspNetUsers" ("Id" TEXT NOT NULL CONSTRAINT "PK_AspNetUsers" PRIMARY KEY, "UserName" TEXT NULL, "EmailConfirmed" INTEGER NOT NULL, "LockoutEnd" TEXT NULL, "Balance" TEXT NOT NULL DEFAULT '0.0', "Version" BLOB NULL);
INSERT INTO AspNetUsers SELECT printf('%08X-0000-0000-0000-000000000000', value), 'user' || value, value % 2, strftime('%Y-%m-%d %H:%M:%S', 1600000000 + value, 'unixepoch') || '.1234567+00:00', printf('%.2f', value / 3.0), randomblob(8) FROM counted WHERE value <= 60;
CREATE TABLE "Orders" ("Id" INTEGER NOT NULL CONSTRAINT "PK_Orders" PRIMARY KEY AUTOINCREMENT, "UserId" TEXT NOT NULL, "Total" TEXT NOT NULL, "Placed" TEXT NOT NULL DEFAULT (CURRENT_TIMESTAMP), "Span" TEXT AS (substr("Placed", 1, 10)) STORED, CONSTRAINT "FK_Orders" FOREIGN KEY ("UserId") REFERENCES "AspNetUsers" ("Id") ON DELETE CASCADE, CONSTRAINT "CK_Total" CHECK (CAST("Total" AS REAL) >= 0));
INSERT INTO Orders (UserId, Total) SELECT printf('%08X-0000-0000-0000-000000000000', 1 + value % 60), '12.50' FROM counted; CREATE INDEX "IX_Orders_UserId" ON "Orders" ("UserId"); CREATE UNIQUE INDEX "UserNameIndex" ON "AspNetUsers" ("UserName") WHERE "UserName" IS NOT NULL"""

_PRISMA = """
CREATE TABLE "User" ("id" TEXT NOT NULL PRIMARY KEY, "email" TEXT NOT NULL, "role" TEXT NOT NULL DEFAULT 'USER', "balance" DECIMAL NOT NULL DEFAULT 0, "big" BIGINT, "meta" JSONB, "active" BOOLEAN NOT NULL DEFAULT true, "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" DATETIME NOT NULL);
INSERT INTO "User" SELECT 'c' || value, 'u' || value || '@example.com', 'USER', value * 0.1, value * 4294967296, '{"a": ' || value || '}', value % 2, 1700000000000 + value, 1700000000500 + value FROM counted WHERE value <= 100;
CREATE UNIQUE INDEX "User_email_key" ON "User"("email"); CREATE TABLE "_Friends" ("A" TEXT NOT NULL, "B" TEXT NOT NULL, CONSTRAINT "_A_fkey" FOREIGN KEY ("A") REFERENCES "User" ("id") ON DELETE CASCADE ON UPDATE CASCADE, CONSTRAINT "_B_fkey" FOREIGN KEY ("B") REFERENCES "User" ("id") ON DELETE CASCADE ON UPDATE CASCADE);
INSERT INTO _Friends SELECT 'c' || value, 'c' || (value + 1) FROM counted WHERE value <= 99; CREATE UNIQUE INDEX "_Friends_AB_unique" ON "_Friends"("A", "B"); CREATE INDEX "_Friends_B_index" ON "_Friends"("B");
CREATE TABLE "_prisma_migrations" ("id" TEXT PRIMARY KEY NOT NULL, "checksum" TEXT NOT NULL, "finished_at" DATETIME, "migration_name" TEXT NOT NULL, "logs" TEXT, "started_at" DATETIME NOT NULL DEFAULT current_timestamp, "applied_steps_count" INTEGER UNSIGNED NOT NULL DEFAULT 0);
INSERT INTO _prisma_migrations VALUES ('m1', 'abc', 1700000000000, '2020_init', NULL, 1700000000000, 1), ('m2', 'abd', 1700000000001, '2020_more', NULL, '2023-11-14 22:13:20', 1)"""

_WORDPRESS = """
CREATE TABLE wp_options (option_id INTEGER PRIMARY KEY AUTOINCREMENT, option_name text NOT NULL DEFAULT '' COLLATE NOCASE, option_value text NOT NULL COLLATE NOCASE, autoload text NOT NULL DEFAULT 'yes' COLLATE NOCASE); INSERT INTO wp_options (option_name, option_value) SELECT 'Option' || value, 'a:1:{i:0;s:1:"x";}' FROM counted;
CREATE UNIQUE INDEX wp_options__option_name ON wp_options (option_name); CREATE TABLE wp_posts (ID INTEGER PRIMARY KEY AUTOINCREMENT, post_author integer NOT NULL DEFAULT 0, post_date text NOT NULL DEFAULT '0000-00-00 00:00:00', post_modified datetime NOT NULL DEFAULT '0000-00-00 00:00:00', post_title text NOT NULL COLLATE NOCASE, menu_order integer NOT NULL DEFAULT '0', post_parent unsigned bigint NOT NULL DEFAULT 0);
INSERT INTO wp_posts (post_date, post_modified, post_title) SELECT datetime(1600000000 + value, 'unixepoch'), CASE WHEN value % 9 THEN datetime(1600000000 + value, 'unixepoch') ELSE '0000-00-00 00:00:00' END, 'Post ' || value FROM counted;
CREATE INDEX wp_posts__post_name ON wp_posts (post_title); CREATE INDEX wp_posts__date ON wp_posts (post_date, ID); CREATE TRIGGER wp_posts_modified AFTER UPDATE ON wp_posts BEGIN UPDATE wp_posts SET post_modified = CURRENT_TIMESTAMP WHERE ID = NEW.ID; END"""

APPLICATIONS: tuple[tuple[str, Way], ...] = (
    ("like_rails", script(_RAILS)),
    ("like_django", script(_DJANGO)),
    ("like_core_data", script(_CORE_DATA)),
    ("like_chrome_history", script(_CHROME)),
    ("like_firefox_places", script(_FIREFOX)),
    ("like_signal", script(_SIGNAL)),
    ("like_whatsapp", script(_WHATSAPP)),
    ("like_old_anki", script(_OLD_ANKI)),
    ("like_zotero", script(_ZOTERO)),
    ("like_plex", script(_PLEX)),
    ("like_sonarr", script(_SONARR)),
    ("like_home_assistant", script(_HOME_ASSISTANT)),
    ("like_kodi", script(_KODI)),
    ("like_ef_core", script(_EF_CORE)),
    ("like_prisma", script(_PRISMA)),
    ("like_wordpress", script(_WORDPRESS)),
)
