# shellcheck shell=sh
# Sourced by the programs of this kind.
PATH=/usr/sbin:$PATH

# beside new|old: prints the name of a second database of the binding, which is there during a restore only; its own one has the name
# of the role
beside() { printf '%s_%s' "$1" "${BINDING_NAME#app_}"; }

# connect PROGRAM ARG…: runs a client without the settings of the machine
connect() {
    program=$1
    shift
    "$program" --no-defaults --protocol=tcp --host=127.0.0.1 --port="$SERVICE_PORT" --default-character-set=utf8mb4 "$@"
}

# as_admin: runs the SQL of stdin as the server's administrator, and prints the rows
as_admin() {
    {
        echo 'SET lock_wait_timeout = 5, innodb_lock_wait_timeout = 5, max_statement_time = 60;'
        cat
    } | MYSQL_PWD=$(cat "$DATA_DIR/password") connect mariadb --connect-timeout=10 --batch --skip-column-names --user=admin
}

# lock_out: lets the role of the binding in no more, and ends its connections; a connection may just have been let in
lock_out() {
    for _ in 1 2; do
        as_admin <<END
ALTER USER IF EXISTS \`$BINDING_NAME\`@'127.0.0.1' ACCOUNT LOCK;
KILL HARD USER \`$BINDING_NAME\`@'127.0.0.1';
END
    done
}

# as_app PROGRAM ARG…: runs a client with the rights of the binding
as_app() { MYSQL_PWD=$BINDING_PASSWORD connect "$@" --user="$BINDING_NAME"; }
