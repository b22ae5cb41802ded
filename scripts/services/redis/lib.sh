# shellcheck shell=sh
# Sourced by the programs of this kind. SERVICE_KIND is redis or valkey, whose programs have the same options.

# as_admin COMMAND…: runs each command as the server's administrator; each must have one answer, OK or a number
as_admin() {
    answers=$(printf '%s\n' "$@" | REDISCLI_AUTH=$(cat "$DATA_DIR/password") "$SERVICE_KIND-cli" -h 127.0.0.1 -p "$SERVICE_PORT" --user admin --no-auth-warning)
    count=0
    while read -r answer; do
        case $answer in
            OK | PONG | [0-9]*) count=$((count + 1)) ;;
            '') ;;
            *) printf '%s\n' "$answer" >&2; return 1 ;;
        esac
    done <<END
$answers
END
    # the client of a server that is down succeeds, without an answer
    [ "$count" -eq "$#" ] || { echo "the server gave $count answers to $# commands" >&2; return 1; }
}

# hash_of TEXT: prints its SHA-256
hash_of() { printf '%s' "$1" | sha256sum | cut -c 1-64; }

# as_app ARG…: runs the client with the rights of the binding
as_app() { REDISCLI_AUTH=$BINDING_PASSWORD "$SERVICE_KIND-cli" -h 127.0.0.1 -p "$SERVICE_PORT" --user "$BINDING_NAME" --no-auth-warning "$@"; }
