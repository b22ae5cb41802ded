# shellcheck shell=sh
# Sourced by `restore` and `recover`, after lib.sh: the exchange of the content of the database `own` for that of the database `loads`; the
# database `old` gets the old content, and the folder `files` what the functions leave for each other. All tables move in one statement.
# What moves with no table (triggers, views, routines, events) is removed before it and made after it. A record tells how to make it, and
# lies in a table that moves with the others: its place decides whether a killed exchange is undone or completed.
: "${own:?}" "${loads:?}" "${old:?}" "${files:?}"
record=piku_restore_record
# Has the name of nothing that another app could guess and keep locked.
session=piku_$(printf '%s' "$BINDING_PASSWORD" | sha256sum | cut -c 1-40)

run() { as_app mariadb --batch --skip-column-names --raw "$@"; }

# remove DATABASE…: removes those that are there
remove() { printf "DROP DATABASE IF EXISTS \`%s\`;\n" "$@" | run; }

# exchanging FILE: runs its statements; `end_session` can end them
exchanging() { { echo "DO GET_LOCK('$session', 60); SET foreign_key_checks = 0;" && cat "$1"; } | run --database="$own"; }

# end_session: ends the statement that a killed client has left in the server
end_session() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        id=$(echo "SELECT COALESCE(IS_USED_LOCK('$session'), '');" | run) || return 1
        [ -n "$id" ] || return 0
        echo "KILL HARD CONNECTION $id;" | run || :
        sleep 0.5
    done
    return 1
}

# end_users: ends all connections of the app, which may keep its tables locked
end_users() {
    echo "SELECT CONCAT('KILL HARD CONNECTION ', id, ';') FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = '$own';" |
        run >"$files/kills" || return 0
    run --force <"$files/kills" || :
}

# tables DATABASE: prints the names of its tables
tables() { echo "SELECT table_name FROM information_schema.tables WHERE table_schema = '$1' AND table_type <> 'VIEW';" | run; }

# objects DATABASE: prints the type and the quoted name of all that moves with no table
objects() {
    run <<END
SELECT CONCAT('TRIGGER \`', REPLACE(trigger_name, '\`', '\`\`'), '\`') FROM information_schema.triggers WHERE trigger_schema = '$1';
SELECT CONCAT('VIEW \`', REPLACE(table_name, '\`', '\`\`'), '\`') FROM information_schema.views WHERE table_schema = '$1';
SELECT CONCAT(routine_type, ' \`', REPLACE(routine_name, '\`', '\`\`'), '\`') FROM information_schema.routines WHERE routine_schema = '$1';
SELECT CONCAT('EVENT \`', REPLACE(event_name, '\`', '\`\`'), '\`') FROM information_schema.events WHERE event_schema = '$1';
END
}

# undefine DATABASE: turns lines of `objects` into the statements that remove them
undefine() { sed "s/^\([A-Z ]*\) \`/DROP \1 IF EXISTS \`$1\`.\`/; s/\$/;/"; }

# record_part NAME FILE: prints the statements that add a file to the record
record_part() { base64 -w 100000 "$2" | sed "s|.*|INSERT INTO \`$loads\`.\`$record\` (part, line) VALUES ('$1', '&');|"; }

# write_record: notes in the second database, as a whole, what the files had, old, gets and new tell
write_record() {
    echo whole >"$files/whole"
    {
        echo "CREATE TABLE \`$loads\`.\`$record\` (id int AUTO_INCREMENT PRIMARY KEY, part varchar(9), line longtext CHARSET ascii) ENGINE = InnoDB;"
        echo 'BEGIN;'
        for part in had old gets new whole; do record_part "$part" "$files/$part"; done
        echo 'COMMIT;'
    } | run
}

# moves FROM TO: prints the pairs of one RENAME TABLE
moves() { tables "$1" | sed "s/\`/\`\`/g; s/.*/\`$1\`.\`&\` TO \`$2\`.\`&\`/"; }

# prepare_exchange: writes the statements of the exchange into the file swap, and the record. The files new and old make what moves with no
# table in the two databases.
prepare_exchange() {
    objects "$loads" >"$files/gets"
    objects "$own" >"$files/had"
    moves "$own" "$old" >"$files/moves"
    moves "$loads" "$own" >>"$files/moves"
    echo "\`$loads\`.\`$record\` TO \`$old\`.\`$record\`" >>"$files/moves"
    {
        echo 'SET lock_wait_timeout = 30;'
        undefine "$loads" <"$files/gets"
        undefine "$own" <"$files/had"
        printf 'RENAME TABLE %s;\n' "$(paste -s -d , "$files/moves")"
    } >"$files/swap"
    write_record
}

# read_part DATABASE NAME: prints a file of the record there
read_part() {
    echo "SELECT line FROM \`$1\`.\`$record\` WHERE part = '$2' ORDER BY id;" | run >"$files/part" && base64 -d "$files/part"
}

# finish: completes or undoes an exchange; the file result then says `new` or `old`, or nothing if none had begun. Fails if it cannot
finish() {
    : >"$files/result"
    end_session || return 1
    place=$(echo "SELECT table_schema FROM information_schema.tables WHERE table_name = '$record' AND table_schema IN ('$loads', '$old');" | run) || return 1
    case $place in
        '') return 0 ;;
        "$old") names=gets text=new ;;
        *) names=had text=old ;;
    esac
    whole=$(read_part "$place" whole) || return 1
    if [ -n "$whole" ]; then
        {
            echo 'SET lock_wait_timeout = 10;'
            read_part "$place" "$names" >"$files/objects" || return 1
            undefine "$own" <"$files/objects"
            read_part "$place" "$text" || return 1
        } >"$files/finish" || return 1
        exchanging "$files/finish" >"$files/said" 2>&1 || {
            end_users
            exchanging "$files/finish" >"$files/said" 2>&1
        } || {
            cat "$files/said" >&2
            return 1
        }
    fi
    echo "DROP TABLE \`$place\`.\`$record\`;" | run && echo "$text" >"$files/result"
}
