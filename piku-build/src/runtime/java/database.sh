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

if [ -z "${JDBC_DATABASE_URL-}" ]; then
    piku_rest=${DATABASE_URL-}
    case $piku_rest in
        postgres://*:*@* | postgresql://*:*@*) piku_kind=postgresql ;;
        mysql://*:*@*) piku_kind=mysql ;;
        mariadb://*:*@*) piku_kind=mariadb ;;
        *) piku_kind= ;;
    esac
    if [ -n "$piku_kind" ]; then
        piku_rest=${piku_rest#*://}
        piku_user=${piku_rest%%:*}
        piku_rest=${piku_rest#*:}
        piku_password=${piku_rest%%@*}
        piku_rest=${piku_rest#*@}
        case $piku_rest in
            *\?*) piku_rest="$piku_rest&" ;;
            *) piku_rest="$piku_rest?" ;;
        esac
        export JDBC_DATABASE_URL="jdbc:$piku_kind://${piku_rest}user=$piku_user&password=$piku_password"
        piku_decode "$piku_user"
        export JDBC_DATABASE_USERNAME="$piku_text"
        piku_decode "$piku_password"
        export JDBC_DATABASE_PASSWORD="$piku_text"
    fi
fi
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
unset -f piku_decode
unset piku_text piku_left piku_head piku_tail piku_rest piku_kind piku_user piku_password
