# shellcheck shell=sh
# Sourced by the programs of this kind.
PATH=/usr/lib/postgresql/$SERVICE_VERSION/bin:$PATH
export PGHOST=127.0.0.1 PGPORT="$SERVICE_PORT" PGCONNECT_TIMEOUT=10

# as_admin: runs the SQL of stdin as the server's administrator
as_admin() {
    PGPASSWORD=$(cat "$DATA_DIR/password") psql -X -q -A -t -v ON_ERROR_STOP=1 -U postgres -d "${1:-postgres}" >/dev/null
}

# as_app: becomes a client with the rights of the binding
as_app() {
    export PGUSER="$BINDING_NAME" PGDATABASE="$BINDING_NAME" PGPASSWORD="$BINDING_PASSWORD"
    exec "$@"
}
