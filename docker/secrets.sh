#!/bin/sh
# The stack's secrets. Makes what is missing, never changes what is there, and hands each service a copy of what it needs.
#   docker compose run --rm secrets list            their names
#   docker compose run --rm secrets show NAME       one of them
#   docker compose run --rm secrets url DATABASE    DATABASE_URL of an application on this machine
#   docker compose run --rm secrets rotate NAME     a new one; `docker compose up -d --force-recreate --wait` puts it to use
set -eu
umask 077
kept=/secrets/kept  # mounted into no other service
targets=$(echo "$TARGET_DATABASES" | tr ',' ' ')

random() { head -c "$1" /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n'; }

make() { case $1 in fernet_key) random 32 ;; *) random 24 ;; esac; }

# Writes standard input to a file that appears whole; owner and mode are there before it does.
put() {  # path owner mode
    cat > "$1.new"
    chown "$2" "$1.new"
    chmod "$3" "$1.new"
    mv "$1.new" "$1"
}

names() {
    echo airflow_database airflow_admin fernet_key jwt_secret api_secret_key pgadmin redis
    for name in $targets; do echo "${name}_user"; done
}

known() {
    for name in $(names); do [ "$name" != "${1:-}" ] || return 0; done
    echo "There is no secret ${1:-}. Those there are: $(names | tr '\n' ' ')" >&2
    exit 2
}

value() { cat "$kept/$1"; }

url() { printf 'postgresql://%s_user:%s@%s/%s' "$1" "$(value "$1_user")" "$2" "$1"; }

connection() {  # id database
    printf '"%s": {"conn_type": "postgres", "host": "postgres", "port": 5432, "schema": "%s", "login": "%s_user", "password": "%s"}' \
        "$1" "$2" "$2" "$(value "$2_user")"
}

connections() {
    printf '{%s' "$(connection migration_target "${targets%% *}")"
    for name in $targets; do printf ',\n %s' "$(connection "${name}_target" "$name")"; done
    printf '}\n'
}

servers() {
    printf '{"Servers": {'
    n=0
    for name in $targets; do
        n=$((n + 1))
        [ $n = 1 ] || printf ', '
        printf '"%s": {"Name": "%s", "Group": "Servers", "Host": "postgres", "Port": 5432, "MaintenanceDB": "%s", "Username": "%s_user", "ConnectionParameters": {"sslmode": "prefer", "passfile": "/.pgpass"}}' \
            "$n" "$name" "$name" "$name"
    done
    printf '}}\n'
}

# Each folder is a volume that one kind of service mounts, read-only, and each file belongs to that service's user.
hand_out() {
    # Asked for at the server's first start and kept by nobody: databases.sh leaves the superuser without a password.
    random 24 | put /secrets/postgres/password postgres 400
    value airflow_database | put /secrets/databases/airflow postgres 400
    for name in $targets; do value "${name}_user" | put "/secrets/databases/${name}_user" postgres 400; done

    # Without a line's end: Airflow takes what a command prints as it is.
    metadata="airflow:$(value airflow_database)@postgres:5432/airflow"
    printf %s "postgresql+psycopg2://$metadata" | put /secrets/airflow/sql_alchemy_conn "$AIRFLOW_UID:0" 400
    printf %s "db+postgresql+psycopg2://$metadata" | put /secrets/airflow/result_backend "$AIRFLOW_UID:0" 400
    printf %s "redis://:$(value redis)@redis:6379/0" | put /secrets/airflow/broker_url "$AIRFLOW_UID:0" 400
    for name in fernet_key jwt_secret api_secret_key; do value $name | put /secrets/airflow/$name "$AIRFLOW_UID:0" 400; done
    connections | put /secrets/airflow/connections.json "$AIRFLOW_UID:0" 400
    value airflow_admin | put /secrets/airflow-init/admin "$AIRFLOW_UID:0" 400

    value pgadmin | put /secrets/pgadmin/password 5050:0 400
    servers | put /secrets/pgadmin/servers.json 5050:0 400
    for name in $targets; do echo "postgres:5432:*:${name}_user:$(value "${name}_user")"; done | put /secrets/pgadmin/pgpass 5050:0 400

    value redis | put /secrets/redis/password 999:999 400
    echo "requirepass $(value redis)" | put /secrets/redis/redis.conf 999:999 400
}

for name in $targets; do
    case $name in
        airflow | postgres | template* | [!a-z]* | *[!a-z0-9_]*)
            echo "TARGET_DATABASES in .env: '$name' cannot be a database's name here: use lower-case letters, digits and underscores." >&2
            exit 2 ;;
    esac
done
chmod 700 $kept
for name in $(names); do [ -s "$kept/$name" ] || make "$name" | put "$kept/$name" root 400; done

case ${1:-} in
    '') ;;
    list) names ;;
    show) known "${2:-}"; value "$2"; echo ;;
    url) known "${2:-}_user"; url "$2" "localhost:${POSTGRES_PORT}"; echo ;;
    rotate)
        known "${2:-}"
        new=$(make "$2")
        # What the former key encrypted is encrypted anew by airflow-init, which needs both.
        [ "$2" != fernet_key ] || new="$new,$(value fernet_key | cut -d, -f1)"
        printf %s "$new" | put "$kept/$2" root 400
        echo "$2 is new. To put it to use: docker compose up -d --force-recreate --wait" ;;
    *) sed -n '2,6s/^# *//p' "$0" >&2; exit 2 ;;
esac
hand_out
