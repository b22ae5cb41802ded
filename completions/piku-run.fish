# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_piku_run_global_optspecs
    string join \n root= h/help V/version
end

function __fish_piku_run_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_piku_run_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_piku_run_using_subcommand
    set -l cmd (__fish_piku_run_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c piku-run -n "__fish_piku_run_needs_command" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_needs_command" -s V -l version -d 'Print version'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "daemon" -d 'Keep one supervisor an app running, in the foreground; SIGTERM ends it, the workers stay'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "nginx" -d 'Keep piku\'s nginx running, in the foreground; SIGTERM ends it when its requests have ended, SIGHUP has it read host.yaml'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "certs" -d 'Certificates of the apps\' host names'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "data" -d 'The app\'s own files, also after it was destroyed'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "protections" -d 'Say what protects apps from each other on this machine, and what is recorded of that in host.yaml'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "maintenance" -d 'Answer all requests to an app with 503 and a page that says why, or let them through again'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "supervise" -d 'Supervise one app'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "drain" -d 'Send one app\'s logs on to a receiver of syslog'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "start" -d 'Run what a folder\'s Procfile says, with one log, until Ctrl-C; needs no piku'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "deploy" -d 'Make a built release the live one; its folder is moved away'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "ps" -d 'What runs'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "scale" -d 'Set how many instances of each type there should be'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "restart" -d 'Replace all instances, or those of one type, by new ones of the same release; starts a stopped app'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "stop" -d 'End all instances of an app; it stays stopped until `restart` or a push'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "logs" -d 'What the instances of an app, or a deploy, said'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "releases" -d 'The releases of an app, newest first'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "rollback" -d 'Make a new release with the tree and the configuration of an old one'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "gc" -d 'Remove what nothing needs: old releases, layers of none, caches over their bound, old logs of deploys'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "config" -d 'The configuration of an app, over what its ENV says; a change is a release of its own'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "exec" -d 'Run one command in the live release of an app, with its environment'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "destroy" -d 'Remove an app, all but its data'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand daemon" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand daemon" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand nginx" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand nginx" -l check -d 'Only see whether nginx takes the files of all apps as they are now, and host.yaml\'s ports and addresses'
complete -c piku-run -n "__fish_piku_run_using_subcommand nginx" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and not __fish_seen_subcommand_from renew help" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and not __fish_seen_subcommand_from renew help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and not __fish_seen_subcommand_from renew help" -f -a "renew" -d 'Ask for those that are lacking or end within 30 days, through acme.sh or certbot; a timer does it daily'
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and not __fish_seen_subcommand_from renew help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and __fish_seen_subcommand_from renew" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and __fish_seen_subcommand_from renew" -l force -d 'Also where it was tried in vain a short while ago'
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and __fish_seen_subcommand_from renew" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and __fish_seen_subcommand_from help" -f -a "renew" -d 'Ask for those that are lacking or end within 30 days, through acme.sh or certbot; a timer does it daily'
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and not __fish_seen_subcommand_from export import remove help" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and not __fish_seen_subcommand_from export import remove help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and not __fish_seen_subcommand_from export import remove help" -a "export" -d 'Write them to stdout as a tar archive'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and not __fish_seen_subcommand_from export import remove help" -a "import" -d 'Unpack a tar archive from stdin among them'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and not __fish_seen_subcommand_from export import remove help" -a "remove" -d 'Remove those of an app that was destroyed'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and not __fish_seen_subcommand_from export import remove help" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from export" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from import" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from remove" -l confirm -d 'The app\'s name again' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from remove" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from help" -f -a "export" -d 'Write them to stdout as a tar archive'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from help" -f -a "import" -d 'Unpack a tar archive from stdin among them'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Remove those of an app that was destroyed'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand protections" -l format -d 'How to print it' -r -f -a "text\t'For people'
json\t'For programs'
yaml\t'For both'"
complete -c piku-run -n "__fish_piku_run_using_subcommand protections" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand protections" -l record -d 'Record what holds now: from then on it is an error when one of these is missing'
complete -c piku-run -n "__fish_piku_run_using_subcommand protections" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand maintenance" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand maintenance" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand supervise" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand supervise" -s h -l help -d 'Print help'
complete -c piku-run -n "__fish_piku_run_using_subcommand drain" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand drain" -s h -l help -d 'Print help'
complete -c piku-run -n "__fish_piku_run_using_subcommand start" -s m -l formation -d 'How many of each type, such as web=2,worker=1; a type that is not named has none then' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand start" -s p -l port -d 'The first type\'s first port; each further type begins 100 higher' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand start" -s e -l env -d 'The file with the environment [default: DIR/ENV]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand start" -s f -l procfile -d 'The Procfile [default: DIR/Procfile]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand start" -s t -l timeout -d 'Seconds from SIGTERM to SIGKILL' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand start" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand start" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand deploy" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand deploy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand ps" -l format -d 'How to print it' -r -f -a "text\t'For people'
json\t'For programs'
yaml\t'For both'"
complete -c piku-run -n "__fish_piku_run_using_subcommand ps" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand ps" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand scale" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand scale" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand restart" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand restart" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand stop" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand stop" -l all -d 'All apps; they come back when the daemon is started again'
complete -c piku-run -n "__fish_piku_run_using_subcommand stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand logs" -s n -l lines -d 'How many of the last lines [default: 100; of a deploy all]' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand logs" -l ps -d 'Only this type, or this instance, such as web.1' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand logs" -l since -d 'Only what was said since then: a while ago, such as 10m, 2h or 1d, or a time, such as 2026-11-22T10:00:00Z; all of it, unless -n says how many lines' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand logs" -l deploy -d 'What deploy N, or the last one, said' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand logs" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand logs" -s f -l follow -d 'Go on with what comes'
complete -c piku-run -n "__fish_piku_run_using_subcommand logs" -l raw -d 'All bytes as they were printed, also those that act on a terminal: for a file, or another program. Without it only text and colours are shown'
complete -c piku-run -n "__fish_piku_run_using_subcommand logs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand releases" -l format -d 'How to print them' -r -f -a "text\t'For people'
json\t'For programs'
yaml\t'For both'"
complete -c piku-run -n "__fish_piku_run_using_subcommand releases" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand releases" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand rollback" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand rollback" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand gc" -l format -d 'How to print it' -r -f -a "text\t'For people'
json\t'For programs'
yaml\t'For both'"
complete -c piku-run -n "__fish_piku_run_using_subcommand gc" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand gc" -l dry-run -d 'Remove nothing, say what would be'
complete -c piku-run -n "__fish_piku_run_using_subcommand gc" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and not __fish_seen_subcommand_from get set unset import help" -l format -d 'How to print it' -r -f -a "text\t'For people'
json\t'For programs'
yaml\t'For both'"
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and not __fish_seen_subcommand_from get set unset import help" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and not __fish_seen_subcommand_from get set unset import help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and not __fish_seen_subcommand_from get set unset import help" -a "get" -d 'Print one value'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and not __fish_seen_subcommand_from get set unset import help" -a "set" -d 'Set values: a new release runs with them, or, where it does not come up, nothing is changed'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and not __fish_seen_subcommand_from get set unset import help" -a "unset" -d 'Forget values, in a new release as for set'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and not __fish_seen_subcommand_from get set unset import help" -a "import" -d 'Set what an ENV file on stdin says, in a new release as for set'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and not __fish_seen_subcommand_from get set unset import help" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from get" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from get" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from set" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from set" -l no-restart -d 'Store it for the next release, or restart of the whole app'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from unset" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from unset" -l no-restart -d 'Store it for the next release, or restart of the whole app'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from unset" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from import" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from import" -l no-restart -d 'Store it for the next release, or restart of the whole app'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "get" -d 'Print one value'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "set" -d 'Set values: a new release runs with them, or, where it does not come up, nothing is changed'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "unset" -d 'Forget values, in a new release as for set'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "import" -d 'Set what an ENV file on stdin says, in a new release as for set'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand exec" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand exec" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand destroy" -l confirm -d 'The app\'s name once more' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand destroy" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand destroy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "daemon" -d 'Keep one supervisor an app running, in the foreground; SIGTERM ends it, the workers stay'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "nginx" -d 'Keep piku\'s nginx running, in the foreground; SIGTERM ends it when its requests have ended, SIGHUP has it read host.yaml'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "certs" -d 'Certificates of the apps\' host names'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "data" -d 'The app\'s own files, also after it was destroyed'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "protections" -d 'Say what protects apps from each other on this machine, and what is recorded of that in host.yaml'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "maintenance" -d 'Answer all requests to an app with 503 and a page that says why, or let them through again'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "supervise" -d 'Supervise one app'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "drain" -d 'Send one app\'s logs on to a receiver of syslog'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "start" -d 'Run what a folder\'s Procfile says, with one log, until Ctrl-C; needs no piku'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "deploy" -d 'Make a built release the live one; its folder is moved away'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "ps" -d 'What runs'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "scale" -d 'Set how many instances of each type there should be'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "restart" -d 'Replace all instances, or those of one type, by new ones of the same release; starts a stopped app'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "stop" -d 'End all instances of an app; it stays stopped until `restart` or a push'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "logs" -d 'What the instances of an app, or a deploy, said'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "releases" -d 'The releases of an app, newest first'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "rollback" -d 'Make a new release with the tree and the configuration of an old one'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "gc" -d 'Remove what nothing needs: old releases, layers of none, caches over their bound, old logs of deploys'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "config" -d 'The configuration of an app, over what its ENV says; a change is a release of its own'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "exec" -d 'Run one command in the live release of an app, with its environment'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "destroy" -d 'Remove an app, all but its data'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx certs data protections maintenance supervise drain start deploy ps scale restart stop logs releases rollback gc config exec destroy help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from certs" -f -a "renew" -d 'Ask for those that are lacking or end within 30 days, through acme.sh or certbot; a timer does it daily'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from data" -f -a "export" -d 'Write them to stdout as a tar archive'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from data" -f -a "import" -d 'Unpack a tar archive from stdin among them'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from data" -f -a "remove" -d 'Remove those of an app that was destroyed'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "get" -d 'Print one value'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "set" -d 'Set values: a new release runs with them, or, where it does not come up, nothing is changed'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "unset" -d 'Forget values, in a new release as for set'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "import" -d 'Set what an ENV file on stdin says, in a new release as for set'
