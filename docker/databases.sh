#!/bin/sh
# Roles and databases on the server, made where missing and given today's passwords. Runs at every start, over the
# server's own socket, where its operating-system user is the superuser, who has no password and so no way over the network.
set -eu

ensure() {  # role database; $file holds its password
    psql -X -q -d postgres -v ON_ERROR_STOP=1 -v role="$1" -v database="$2" <<'SQL'
SET log_min_error_statement = panic;  -- a statement that fails shall not take a password into the log
\set password `cat "$file"`
SELECT format('CREATE ROLE %I', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
ALTER ROLE :"role" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I TEMPLATE template0 ENCODING ''UTF8''', :'database', :'role')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
SQL
}

psql -X -q -d postgres -v ON_ERROR_STOP=1 -c 'ALTER ROLE postgres PASSWORD NULL' \
    -c 'REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC'
file=/run/secrets/airflow; export file
ensure airflow airflow
for name in $(echo "$TARGET_DATABASES" | tr ',' ' '); do
    file=/run/secrets/${name}_user
    ensure "${name}_user" "$name"
done
