# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_piku_procfile_global_optspecs
    string join \n h/help V/version
end

function __fish_piku_procfile_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_piku_procfile_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_piku_procfile_using_subcommand
    set -l cmd (__fish_piku_procfile_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c piku-procfile -n "__fish_piku_procfile_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-procfile -n "__fish_piku_procfile_needs_command" -s V -l version -d 'Print version'
complete -c piku-procfile -n "__fish_piku_procfile_needs_command" -f -a "check" -d 'Checks a Procfile; prints nothing when all is well'
complete -c piku-procfile -n "__fish_piku_procfile_needs_command" -f -a "list" -d 'Prints the process types of a Procfile'
complete -c piku-procfile -n "__fish_piku_procfile_needs_command" -f -a "show" -d 'Prints the command of one process type'
complete -c piku-procfile -n "__fish_piku_procfile_needs_command" -f -a "env" -d 'Prints the variables of an ENV file with their values'
complete -c piku-procfile -n "__fish_piku_procfile_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand check" -l strict -d 'Refuse names of process types that are not DNS labels'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand check" -l piku-compat -d 'Take duplicate names, bad names and garbage lines with a warning, as the Python piku does'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand check" -s h -l help -d 'Print help'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand list" -l format -d 'The form of the output; text is a Procfile again' -r -f -a "text\t'For people'
json\t'For programs'
yaml\t'For both'"
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand list" -l strict -d 'Refuse names of process types that are not DNS labels'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand list" -l piku-compat -d 'Take duplicate names, bad names and garbage lines with a warning, as the Python piku does'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand show" -l strict -d 'Refuse names of process types that are not DNS labels'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand show" -l piku-compat -d 'Take duplicate names, bad names and garbage lines with a warning, as the Python piku does'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand show" -s h -l help -d 'Print help'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand env" -l format -d 'The form of the output; text is quoted for a shell' -r -f -a "text\t'For people'
json\t'For programs'
yaml\t'For both'"
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand env" -l check -d 'Only check the file; print nothing when all is well'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand env" -l piku-compat -d 'Keep the quotes around a value, as the Python piku does'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand env" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and not __fish_seen_subcommand_from check list show env help" -f -a "check" -d 'Checks a Procfile; prints nothing when all is well'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and not __fish_seen_subcommand_from check list show env help" -f -a "list" -d 'Prints the process types of a Procfile'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and not __fish_seen_subcommand_from check list show env help" -f -a "show" -d 'Prints the command of one process type'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and not __fish_seen_subcommand_from check list show env help" -f -a "env" -d 'Prints the variables of an ENV file with their values'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and not __fish_seen_subcommand_from check list show env help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
