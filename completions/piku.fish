# fish completion for piku: the verbs, and the names of apps, process types, instances and releases.

function __piku_complete
    set -l words (commandline -opc)
    piku complete -- $words[2..-1] 2>/dev/null
end

complete -c piku -f -a '(__piku_complete)'
complete -c piku -n '__fish_seen_subcommand_from import-piku' -F
