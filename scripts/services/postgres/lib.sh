# shellcheck shell=sh
# Sourced by the programs of this kind.
PATH=/usr/lib/postgresql/$SERVICE_VERSION/bin:$PATH
# From PostgreSQL 16 on, a client refuses a server that asks for the password itself.
export PGHOST=127.0.0.1 PGPORT="$SERVICE_PORT" PGCONNECT_TIMEOUT=10 PGSSLMODE=disable PGREQUIREAUTH=scram-sha-256

# as_admin DATABASE: runs the SQL of stdin as the server's administrator, and prints the rows. The options go before what the
# owner of a database may have set for it.
as_admin() {
    PGOPTIONS='-c lock_timeout=5s -c statement_timeout=60s -c default_transaction_read_only=off -c role=none -c search_path=pg_catalog' \
        PGPASSWORD=$(cat "$DATA_DIR/password") psql -X -q -A -t -v ON_ERROR_STOP=1 -U postgres -d "$1"
}

# lock_out: lets the role of the binding in no more, and ends its connections. One of them may keep the role locked, so that it
# cannot be changed: they end before that, too, and again if another one was faster.
lock_out() {
    for try in 1 2 3 4 5; do
        if as_admin postgres <<END
SELECT pg_terminate_backend(pid, 5000) AS ended FROM pg_stat_activity WHERE usename = '$BINDING_NAME' \g /dev/null
SELECT 'ALTER ROLE "$BINDING_NAME" NOLOGIN PASSWORD NULL' WHERE EXISTS (SELECT FROM pg_roles WHERE rolname = '$BINDING_NAME') \gexec
SELECT pg_terminate_backend(pid, 5000) AS ended FROM pg_stat_activity WHERE usename = '$BINDING_NAME' \g /dev/null
END
        then return; fi
        echo "the role is in use, try $try" >&2
    done
    return 1
}

# as_app: becomes a client with the rights of the binding
as_app() {
    export PGUSER="$BINDING_NAME" PGDATABASE="$BINDING_NAME" PGPASSWORD="$BINDING_PASSWORD"
    exec "$@"
}
