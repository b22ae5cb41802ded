# Variables for JDBC and Spring, made of the URLs that bound services give.

# piku_decode TEXT: sets piku_text to TEXT without its percent-encoding
piku_decode() {
    piku_text=
    piku_left=$1
    while :; do
        case $piku_left in
            *%[0-9A-Fa-f][0-9A-Fa-f]*) ;;
            *) break ;;
        esac
        piku_head=${piku_left%%\%[0-9A-Fa-f][0-9A-Fa-f]*}
        piku_left=${piku_left#"$piku_head"%}
        piku_tail=${piku_left#??}
        piku_text=$piku_text$piku_head$(printf %b "\\0$(printf %o "0x${piku_left%"$piku_tail"}")")
        piku_left=$piku_tail
    done
    piku_text=$piku_text$piku_left
}

# piku_jdbc URL NAME: exports NAME_URL, NAME_USERNAME and NAME_PASSWORD, if the URL is that of a database
piku_jdbc() {
    case $1 in
        postgres://*:*@* | postgresql://*:*@*) piku_kind=postgresql ;;
        mysql://*:*@*) piku_kind=mysql ;;
        mariadb://*:*@*) piku_kind=mariadb ;;
        *) return 0 ;;
    esac
    piku_rest=${1#*://}
    piku_user=${piku_rest%%:*}
    piku_rest=${piku_rest#*:}
    piku_password=${piku_rest%%@*}
    piku_rest=${piku_rest#*@}
    case $piku_rest in
        *\?*) piku_rest="$piku_rest&" ;;
        *) piku_rest="$piku_rest?" ;;
    esac
    export "$2_URL=jdbc:$piku_kind://${piku_rest}user=$piku_user&password=$piku_password"
    piku_decode "$piku_user"
    export "$2_USERNAME=$piku_text"
    piku_decode "$piku_password"
    export "$2_PASSWORD=$piku_text"
}

# piku_convert NAME OTHER: exports the variables of OTHER for the database of NAME_URL, unless there is an OTHER_URL
piku_convert() {
    # The value of another variable may have lines that look like one.
    piku_url=
    eval "piku_url=\${$1_URL-} piku_own=\${$2_URL-}"
    [ -n "$piku_own" ] || piku_jdbc "$piku_url" "$2"
}

# The database of DATABASE_URL gets the name that Spring and others know, that of REPORTS_URL is REPORTS_JDBC_URL.
piku_convert DATABASE JDBC_DATABASE
piku_ifs=${IFS-unset}
unset IFS
for piku_name in $({ env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)_URL=[a-z]*:\/\/..*/\1/p'; } 2>/dev/null); do
    [ "$piku_name" = DATABASE ] || piku_convert "$piku_name" "${piku_name}_JDBC"
done
[ "$piku_ifs" = unset ] || IFS=$piku_ifs
if [ -n "${JDBC_DATABASE_URL-}" ] && [ "${DISABLE_SPRING_DATASOURCE_URL-}" != true ] &&
    [ -z "${SPRING_DATASOURCE_URL-}${SPRING_DATASOURCE_USERNAME-}${SPRING_DATASOURCE_PASSWORD-}" ]; then
    export SPRING_DATASOURCE_URL="$JDBC_DATABASE_URL"
    export SPRING_DATASOURCE_USERNAME="${JDBC_DATABASE_USERNAME-}"
    export SPRING_DATASOURCE_PASSWORD="${JDBC_DATABASE_PASSWORD-}"
fi
if [ -n "${REDIS_URL-}" ] && [ "${DISABLE_SPRING_REDIS_URL-}" != true ]; then
    # the name of Spring Boot 2, and that of 3
    export SPRING_REDIS_URL="${SPRING_REDIS_URL:-$REDIS_URL}"
    export SPRING_DATA_REDIS_URL="${SPRING_DATA_REDIS_URL:-$REDIS_URL}"
fi
unset -f piku_decode piku_jdbc piku_convert
unset piku_text piku_left piku_head piku_tail piku_rest piku_kind piku_user piku_password
unset piku_name piku_ifs piku_url piku_own
