#!/bin/sh
# pgAdmin with today's database passwords: the image itself copies them on its first start only.
set -eu
storage=/var/lib/pgadmin/storage/$(printf %s "$PGADMIN_DEFAULT_EMAIL" | tr @ _)
mkdir -p "$storage"
cp /run/secrets/pgpass "$storage/.pgpass"
chmod 600 "$storage/.pgpass"
exec /entrypoint.sh
