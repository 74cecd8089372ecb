#!/bin/sh
# pgAdmin with today's passwords: the image itself takes them on its first start only.
set -eu
data=/var/lib/pgadmin
storage=$data/storage/$(printf %s "$PGADMIN_DEFAULT_EMAIL" | tr @ _)
mkdir -p "$storage"
cp /run/secrets/pgpass "$storage/.pgpass"
chmod 600 "$storage/.pgpass"

# A new login is a first start: preferences and sessions go, the servers come from their file anyway.
login=$( { echo "$PGADMIN_DEFAULT_EMAIL"; cat /run/secrets/password; } | sha256sum)
if [ "$login" != "$(cat $data/login.sha256 2>/dev/null)" ]; then
    rm -rf $data/pgadmin4.db $data/sessions
    echo "$login" > $data/login.sha256
fi
exec /entrypoint.sh
