# bash completion for piku: the verbs, and the names of apps, process types, instances and releases.

_piku() {
    local line=${COMP_LINE:0:COMP_POINT} words current found
    read -ra words <<<"$line"
    current=
    case $line in
        *' ') ;;
        *)
            current=${words[${#words[@]} - 1]}
            unset "words[${#words[@]} - 1]"
            ;;
    esac
    # without compgen -W, which would expand the words: they are a server's
    COMPREPLY=()
    while IFS= read -r found; do
        [[ $found != "$current"* ]] || COMPREPLY+=("$found")
    done < <(piku complete -- "${words[@]:1}" 2>/dev/null)
    # readline takes the part behind the last colon or equals sign for the word
    case $current in
        *[:=]*) COMPREPLY=("${COMPREPLY[@]#"${current%"${current##*[:=]}"}"}") ;;
    esac
    case ${COMPREPLY[*]-} in
        *=) compopt -o nospace 2>/dev/null ;;
    esac
}
complete -o default -F _piku piku
