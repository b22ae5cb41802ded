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

complete -c piku-run -n "__fish_piku_run_needs_command" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_needs_command" -s V -l version -d 'Print version'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "daemon" -d 'Run one supervisor for each app, in the foreground; on SIGTERM it exits and instances keep running'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "nginx" -d 'Run piku\'s nginx in the foreground; SIGTERM stops it after its requests have finished, SIGHUP reloads host.yaml'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "apps" -d 'List the apps, with their state if it is unusual'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "domains" -d 'List, change or check the host names of apps'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "host-domain" -d 'Print or set the domain below which this machine serves apps without a name of their own'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "audit" -d 'Print who has done what: the audit log, oldest first'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "certs" -d 'Manage the certificates of the apps\' host names'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "data" -d 'Export, import or remove the app\'s own files, also after it was destroyed'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "protections" -d 'Show the protections between apps on this machine, and those recorded in host.yaml'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "maintenance" -d 'Answer all requests to an app with 503 and a maintenance page, or stop doing so'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "supervise" -d 'Supervise one app'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "data-usage" -d 'Measure the data of the apps that have a `DATA_LIMIT`'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "drain" -d 'Forward one app\'s logs to a syslog receiver'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "start" -d 'Run the processes of a Procfile with one log until Ctrl-C; needs no installation of piku'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "check" -d 'Check the settings of an app before it is built: limits, network, nginx'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "front" -d 'List the machines to which this machine\'s nginx passes the requests to an app'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "lock" -d 'Refuse deploys of an app until it is unlocked: pushes, rebuilds, releases from other machines'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "unlock" -d 'Allow deploys of a locked app again'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "deploy" -d 'Make a built release live; its directory is moved away'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "ps" -d 'List the instances of apps'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "scale" -d 'Set the number of instances of process types'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "restart" -d 'Replace all instances, or those of one type, by new ones of the same release; starts a stopped app'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "cron-run" -d 'Run a cron job once, now'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "stop" -d 'Stop all instances of an app until `restart` or a push'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "logs" -d 'Print the logs of an app\'s instances or of a deploy'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "releases" -d 'List the releases of an app, newest first'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "release-info" -d 'Describe a release, and how its settings and files differ from those of the one before it'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "rollback" -d 'Make a new release with the tree and config of an old one'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "gc" -d 'Remove old releases, unused layers, caches and image bases over their limits, and old deploy logs'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "config" -d 'Print or change the config of an app, which overrides its ENV file; each change makes a new release'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "grant" -d 'List, or add to, the devices, sockets and directories of this machine that an app may use'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "revoke" -d 'Take back paths that were granted to an app'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "exec" -d 'Run a command in the live release of an app, with its environment'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "import-piku" -d 'Take over the apps of a Python piku: repositories, settings, scale, data and certificates'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "import-app" -d 'Take over the settings and the scale of an app of Heroku or dokku, from what their commands print, on stdin'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "rename" -d 'Give an app another name, with its releases, config, data, certificates, grants, logs and keys'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "clone" -d 'Make another app with the code, config and formation of one'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "service" -d 'Manage services: databases and other servers that apps are bound to'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "notify" -d 'Tell the operator of new problems, in the ways that `notify` of host.yaml names'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "status" -d 'Show the machine and its apps: instances, usage, crons, certificates and the last deploys'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "status-password" -d 'Set the password of a reader of the status page, which nginx serves to readers only'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "metrics" -d 'Print the state of the machine and its apps as metrics for Prometheus'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "destroy" -d 'Remove an app; its repository, config and data are kept for `keep_destroyed` of host.yaml'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "backup" -d 'Write an app to stdout as a backup: repository, config, formation and data, while it runs'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "restore" -d 'Bring back a destroyed app, or apps from a backup on stdin, and deploy them'
complete -c piku-run -n "__fish_piku_run_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand daemon" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand daemon" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand nginx" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand nginx" -l check -d 'Only check that nginx accepts the files of all apps and the ports and addresses of host.yaml'
complete -c piku-run -n "__fish_piku_run_using_subcommand nginx" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand apps" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand apps" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand apps" -s l -l long -d 'Print a table with the state, the live release, the instances and the URLs'
complete -c piku-run -n "__fish_piku_run_using_subcommand apps" -l urls -d 'Print only the best URL of each'
complete -c piku-run -n "__fish_piku_run_using_subcommand apps" -l none -d 'Print no app, for a key that has none'
complete -c piku-run -n "__fish_piku_run_using_subcommand apps" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and not __fish_seen_subcommand_from add remove check help" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and not __fish_seen_subcommand_from add remove check help" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and not __fish_seen_subcommand_from add remove check help" -l none -d 'Print no app, for a key that has none'
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and not __fish_seen_subcommand_from add remove check help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and not __fish_seen_subcommand_from add remove check help" -a "add" -d 'Add host names to the app\'s config, with a new release'
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and not __fish_seen_subcommand_from add remove check help" -a "remove" -d 'Remove host names from the app\'s config, with a new release'
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and not __fish_seen_subcommand_from add remove check help" -a "check" -d 'Check that DNS leads here and that nginx answers for each name'
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and not __fish_seen_subcommand_from add remove check help" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and __fish_seen_subcommand_from add" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and __fish_seen_subcommand_from add" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and __fish_seen_subcommand_from add" -l no-restart -d 'Only store the change, for the next release or restart of the whole app'
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and __fish_seen_subcommand_from remove" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and __fish_seen_subcommand_from remove" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and __fish_seen_subcommand_from remove" -l no-restart -d 'Only store the change, for the next release or restart of the whole app'
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and __fish_seen_subcommand_from check" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and __fish_seen_subcommand_from check" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and __fish_seen_subcommand_from help" -f -a "add" -d 'Add host names to the app\'s config, with a new release'
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Remove host names from the app\'s config, with a new release'
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and __fish_seen_subcommand_from help" -f -a "check" -d 'Check that DNS leads here and that nginx answers for each name'
complete -c piku-run -n "__fish_piku_run_using_subcommand domains; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand host-domain" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand host-domain" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand host-domain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand audit" -l key -d 'Only this key; \'operator\' means all work on the server itself' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand audit" -l since -d 'Only lines since this age, such as 10m, 2h or 1d, since today or yesterday, or since a time, such as 2026-11-22T10:00:00Z; all of them unless -n is given' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand audit" -s n -l lines -d 'Number of last lines [default: 100]' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand audit" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand audit" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand audit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and not __fish_seen_subcommand_from list renew help" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and not __fish_seen_subcommand_from list renew help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and not __fish_seen_subcommand_from list renew help" -f -a "list" -d 'List the certificates: who issued them, until when they are valid, and what failed last'
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and not __fish_seen_subcommand_from list renew help" -f -a "renew" -d 'Request missing certificates and those that expire within 30 days, through acme.sh or certbot; a timer runs this daily'
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and not __fish_seen_subcommand_from list renew help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and __fish_seen_subcommand_from list" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and __fish_seen_subcommand_from list" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and __fish_seen_subcommand_from list" -l none -d 'Print no app, for a key that has none'
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and __fish_seen_subcommand_from renew" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and __fish_seen_subcommand_from renew" -l force -d 'Also retry requests that failed a short while ago'
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and __fish_seen_subcommand_from renew" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the certificates: who issued them, until when they are valid, and what failed last'
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and __fish_seen_subcommand_from help" -f -a "renew" -d 'Request missing certificates and those that expire within 30 days, through acme.sh or certbot; a timer runs this daily'
complete -c piku-run -n "__fish_piku_run_using_subcommand certs; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and not __fish_seen_subcommand_from export import remove help" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and not __fish_seen_subcommand_from export import remove help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and not __fish_seen_subcommand_from export import remove help" -a "export" -d 'Write the files to stdout as a tar archive'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and not __fish_seen_subcommand_from export import remove help" -a "import" -d 'Unpack a tar archive from stdin into the directory, as a whole or not at all'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and not __fish_seen_subcommand_from export import remove help" -a "remove" -d 'Remove the files of a destroyed app'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and not __fish_seen_subcommand_from export import remove help" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from export" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from import" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from import" -l resume -d 'Wait for the end of stdin, then complete or undo an interrupted import'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from remove" -l confirm -d 'Name of the app, to confirm' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from remove" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from help" -f -a "export" -d 'Write the files to stdout as a tar archive'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from help" -f -a "import" -d 'Unpack a tar archive from stdin into the directory, as a whole or not at all'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Remove the files of a destroyed app'
complete -c piku-run -n "__fish_piku_run_using_subcommand data; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand protections" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand protections" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand protections" -l record -d 'Record the protections in effect; builds and starts fail if one of them is missing later'
complete -c piku-run -n "__fish_piku_run_using_subcommand protections" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand maintenance" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand maintenance" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand supervise" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand supervise" -s h -l help -d 'Print help'
complete -c piku-run -n "__fish_piku_run_using_subcommand data-usage" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand data-usage" -l problems -d 'Only print the apps whose data is near its limit, a line each; exits with 1 if there are any'
complete -c piku-run -n "__fish_piku_run_using_subcommand data-usage" -s h -l help -d 'Print help'
complete -c piku-run -n "__fish_piku_run_using_subcommand drain" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand drain" -s h -l help -d 'Print help'
complete -c piku-run -n "__fish_piku_run_using_subcommand start" -s m -l formation -d 'Number of instances of each type, such as web=2,worker=1; types that are not named do not run' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand start" -s p -l port -d 'First port of the first type; each further type begins 100 higher [default: PORT in the environment files, else in the environment, else 5000]' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand start" -s e -l env -d 'Environment files; a later one overrides an earlier one [default: DIR/ENV,DIR/.env]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand start" -s f -l procfile -d 'Path of the Procfile [default: DIR/Procfile]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand start" -s t -l timeout -d 'Seconds between SIGTERM and SIGKILL' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand start" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand start" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand check" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand front; and not __fish_seen_subcommand_from prepare refresh drain help" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand front; and not __fish_seen_subcommand_from prepare refresh drain help" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand front; and not __fish_seen_subcommand_from prepare refresh drain help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand front; and not __fish_seen_subcommand_from prepare refresh drain help" -a "prepare" -d 'Take over the settings of a release, and print the key for the machines; part of a deploy'
complete -c piku-run -n "__fish_piku_run_using_subcommand front; and not __fish_seen_subcommand_from prepare refresh drain help" -a "refresh" -d 'Have nginx send requests to the machines that answer and have the last release; part of a deploy'
complete -c piku-run -n "__fish_piku_run_using_subcommand front; and not __fish_seen_subcommand_from prepare refresh drain help" -a "drain" -d 'Send no requests to a machine until stdin ends; part of a deploy'
complete -c piku-run -n "__fish_piku_run_using_subcommand front; and not __fish_seen_subcommand_from prepare refresh drain help" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand front; and __fish_seen_subcommand_from prepare" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand front; and __fish_seen_subcommand_from prepare" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand front; and __fish_seen_subcommand_from refresh" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand front; and __fish_seen_subcommand_from refresh" -l urls -d 'Print the URLs of the app, and on stderr what is wrong with them'
complete -c piku-run -n "__fish_piku_run_using_subcommand front; and __fish_seen_subcommand_from refresh" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand front; and __fish_seen_subcommand_from drain" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand front; and __fish_seen_subcommand_from drain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand front; and __fish_seen_subcommand_from help" -f -a "prepare" -d 'Take over the settings of a release, and print the key for the machines; part of a deploy'
complete -c piku-run -n "__fish_piku_run_using_subcommand front; and __fish_seen_subcommand_from help" -f -a "refresh" -d 'Have nginx send requests to the machines that answer and have the last release; part of a deploy'
complete -c piku-run -n "__fish_piku_run_using_subcommand front; and __fish_seen_subcommand_from help" -f -a "drain" -d 'Send no requests to a machine until stdin ends; part of a deploy'
complete -c piku-run -n "__fish_piku_run_using_subcommand front; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand lock" -l reason -d 'Reason that refused deploys are given' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand lock" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand lock" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand unlock" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand unlock" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand deploy" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand deploy" -l written -d 'Its files are on the disk already: piku-build has just made it'
complete -c piku-run -n "__fish_piku_run_using_subcommand deploy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand ps" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand ps" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand ps" -l watch -d 'Print the instances every two seconds'
complete -c piku-run -n "__fish_piku_run_using_subcommand ps" -l terminal -d 'Clear the terminal before each table, although the output does not go to one'
complete -c piku-run -n "__fish_piku_run_using_subcommand ps" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand scale" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand scale" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand scale" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand restart" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand restart" -l if-stopped -d 'Do nothing unless the app is stopped'
complete -c piku-run -n "__fish_piku_run_using_subcommand restart" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand cron-run" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand cron-run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand stop" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand stop" -l all -d 'Stop all apps; they start again with the daemon'
complete -c piku-run -n "__fish_piku_run_using_subcommand stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand logs" -s n -l lines -d 'Number of last lines [default: 100; for a deploy all]' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand logs" -l ps -d 'Only this process type or instance, such as web.1' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand logs" -l since -d 'Only lines since this age, such as 10m, 2h or 1d, since today or yesterday, or since a time, such as 2026-11-22T10:00:00Z; all of them unless -n is given' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand logs" -l deploy -d 'Log of deploy N [default: the last deploy]' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand logs" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand logs" -s f -l follow -d 'Keep printing new lines'
complete -c piku-run -n "__fish_piku_run_using_subcommand logs" -l nginx -d 'Log of requests and errors that nginx keeps for the app'
complete -c piku-run -n "__fish_piku_run_using_subcommand logs" -l access -d 'Log of requests that nginx keeps for the app, without its errors'
complete -c piku-run -n "__fish_piku_run_using_subcommand logs" -l raw -d 'Print all bytes unchanged, including control sequences, for a file or another program. By default only text and colours are printed'
complete -c piku-run -n "__fish_piku_run_using_subcommand logs" -l terminal -d 'Print the names in colours, as on a terminal, unless `NO_COLOR` is set'
complete -c piku-run -n "__fish_piku_run_using_subcommand logs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand releases" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand releases" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand releases" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand release-info" -l since -d 'Release to compare it with [default: the one before it]' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand release-info" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand release-info" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand release-info" -l show -d 'Also print the old and new values of settings, which may be secrets'
complete -c piku-run -n "__fish_piku_run_using_subcommand release-info" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand rollback" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand rollback" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand gc" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand gc" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand gc" -l dry-run -d 'Only print what would be removed'
complete -c piku-run -n "__fish_piku_run_using_subcommand gc" -l expired -d 'Remove only what destroyed apps have left, after its time; the daemon asks for it'
complete -c piku-run -n "__fish_piku_run_using_subcommand gc" -l withdrawn -d 'Remove only what is withdrawn from the app already; the daemon asks for it'
complete -c piku-run -n "__fish_piku_run_using_subcommand gc" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and not __fish_seen_subcommand_from get set unset import help" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and not __fish_seen_subcommand_from get set unset import help" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and not __fish_seen_subcommand_from get set unset import help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and not __fish_seen_subcommand_from get set unset import help" -a "get" -d 'Print one value'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and not __fish_seen_subcommand_from get set unset import help" -a "set" -d 'Set values and deploy a new release with them; if it does not come up, nothing changes'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and not __fish_seen_subcommand_from get set unset import help" -a "unset" -d 'Remove values, with a new release as for set'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and not __fish_seen_subcommand_from get set unset import help" -a "import" -d 'Set the values of an ENV file on stdin, with a new release as for set'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and not __fish_seen_subcommand_from get set unset import help" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from get" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from get" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from get" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from set" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from set" -l stdin -d 'Read the value of the only NAME from stdin, without its last newline'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from set" -l no-restart -d 'Only store the change, for the next release or restart of the whole app'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from unset" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from unset" -l no-restart -d 'Only store the change, for the next release or restart of the whole app'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from unset" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from import" -l before -d 'Refuse if the config is not the first BYTES of stdin, as `config` prints it; the file follows' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from import" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from import" -l replace -d 'Remove the values that the file does not have'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from import" -l allow-empty -d 'With --replace: remove all values if the file has none'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from import" -l no-restart -d 'Only store the change, for the next release or restart of the whole app'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "get" -d 'Print one value'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "set" -d 'Set values and deploy a new release with them; if it does not come up, nothing changes'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "unset" -d 'Remove values, with a new release as for set'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "import" -d 'Set the values of an ENV file on stdin, with a new release as for set'
complete -c piku-run -n "__fish_piku_run_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand grant" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand grant" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand grant" -l no-restart -d 'Only store the change, for the next start of each process'
complete -c piku-run -n "__fish_piku_run_using_subcommand grant" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand revoke" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand revoke" -l no-restart -d 'Only store the change, for the next start of each process'
complete -c piku-run -n "__fish_piku_run_using_subcommand revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand exec" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand exec" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand import-piku" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand import-piku" -l dry-run -d 'Only print what would be taken over'
complete -c piku-run -n "__fish_piku_run_using_subcommand import-piku" -l no-deploy -d 'Do not deploy the apps'
complete -c piku-run -n "__fish_piku_run_using_subcommand import-piku" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand import-app" -l from -d 'Platform whose exports are on stdin' -r -f -a "heroku\t''
dokku\t''"
complete -c piku-run -n "__fish_piku_run_using_subcommand import-app" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand import-app" -l dry-run -d 'Only print what would be taken over'
complete -c piku-run -n "__fish_piku_run_using_subcommand import-app" -l no-restart -d 'Only store the settings, for the next release or restart'
complete -c piku-run -n "__fish_piku_run_using_subcommand import-app" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand rename" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand rename" -l undo -d 'Start the app under its old name, if an interrupted renaming has not moved it yet'
complete -c piku-run -n "__fish_piku_run_using_subcommand rename" -l resume -d 'Wait for the end of stdin, then complete or undo an interrupted renaming'
complete -c piku-run -n "__fish_piku_run_using_subcommand rename" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand clone" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand clone" -l data -d 'Also copy the app\'s own files, as they are at this moment'
complete -c piku-run -n "__fish_piku_run_using_subcommand clone" -l skip-deploy -d 'Do not deploy the new app yet'
complete -c piku-run -n "__fish_piku_run_using_subcommand clone" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and not __fish_seen_subcommand_from create list info bind unbind drop console dump restore recover upgrade destroy help" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and not __fish_seen_subcommand_from create list info bind unbind drop console dump restore recover upgrade destroy help" -s h -l help -d 'Print help'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and not __fish_seen_subcommand_from create list info bind unbind drop console dump restore recover upgrade destroy help" -f -a "create" -d 'Make a service and start it'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and not __fish_seen_subcommand_from create list info bind unbind drop console dump restore recover upgrade destroy help" -f -a "list" -d 'List the services and the apps that are bound to them'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and not __fish_seen_subcommand_from create list info bind unbind drop console dump restore recover upgrade destroy help" -f -a "info" -d 'Describe a service'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and not __fish_seen_subcommand_from create list info bind unbind drop console dump restore recover upgrade destroy help" -f -a "bind" -d 'Give an app a database of its own, with its address in the app\'s config, as a new release'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and not __fish_seen_subcommand_from create list info bind unbind drop console dump restore recover upgrade destroy help" -f -a "unbind" -d 'Take a service away from an app, as a new release; its data is kept'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and not __fish_seen_subcommand_from create list info bind unbind drop console dump restore recover upgrade destroy help" -f -a "drop" -d 'Remove the data of an app that is not bound any more'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and not __fish_seen_subcommand_from create list info bind unbind drop console dump restore recover upgrade destroy help" -f -a "console" -d 'Run the server\'s own client, such as psql, with the rights of the app'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and not __fish_seen_subcommand_from create list info bind unbind drop console dump restore recover upgrade destroy help" -f -a "dump" -d 'Write a consistent dump of an app\'s data to stdout'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and not __fish_seen_subcommand_from create list info bind unbind drop console dump restore recover upgrade destroy help" -f -a "restore" -d 'Replace an app\'s data by a dump on stdin'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and not __fish_seen_subcommand_from create list info bind unbind drop console dump restore recover upgrade destroy help" -f -a "recover" -d 'Wait for the end of stdin, then complete or undo killed restores of apps\' data'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and not __fish_seen_subcommand_from create list info bind unbind drop console dump restore recover upgrade destroy help" -f -a "upgrade" -d 'Change to a newer version of the server, with all data; the old data is kept until it is confirmed'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and not __fish_seen_subcommand_from create list info bind unbind drop console dump restore recover upgrade destroy help" -f -a "destroy" -d 'Stop a service to which no app is bound, and remove it with its data'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and not __fish_seen_subcommand_from create list info bind unbind drop console dump restore recover upgrade destroy help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from create" -l name -d 'Name of the service [default: that of the kind]' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from create" -l version -d 'Version of the server [default: the newest that is installed]' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from create" -l port -d 'Port of the server, of those that host.yaml has for services [default: a free one]' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from create" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from list" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from list" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from info" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from info" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from info" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from bind" -l as -d 'Beginning of the variable, such as REPORTS for `REPORTS_URL` [default: that of the kind]' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from bind" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from bind" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from unbind" -l as -d 'Beginning of the variable, if the app has several bindings' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from unbind" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from unbind" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from drop" -l confirm -d 'Name of the app, to confirm' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from drop" -l as -d 'Beginning of the variable, if the app has several bindings' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from drop" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from drop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from console" -l as -d 'Beginning of the variable, if the app has several bindings' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from console" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from console" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from dump" -l as -d 'Beginning of the variable, if the app has several bindings' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from dump" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from dump" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from restore" -l as -d 'Beginning of the variable, if the app has several bindings' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from restore" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from recover" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from recover" -s h -l help -d 'Print help'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from upgrade" -l version -d 'Version of the server [default: the newest that is installed]' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from upgrade" -l confirm -d 'Name of the service: remove the data that an upgrade has kept' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from upgrade" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from upgrade" -l rebuild -d 'Make the data anew also for the version that the service has'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from upgrade" -l undo -d 'Go back to the data that an upgrade has kept; what was written since is lost'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from upgrade" -l resume -d 'Wait for the end of stdin, then finish or undo an interrupted upgrade'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from upgrade" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from destroy" -l confirm -d 'Name of the service, to confirm' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from destroy" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from destroy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from help" -f -a "create" -d 'Make a service and start it'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the services and the apps that are bound to them'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from help" -f -a "info" -d 'Describe a service'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from help" -f -a "bind" -d 'Give an app a database of its own, with its address in the app\'s config, as a new release'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from help" -f -a "unbind" -d 'Take a service away from an app, as a new release; its data is kept'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from help" -f -a "drop" -d 'Remove the data of an app that is not bound any more'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from help" -f -a "console" -d 'Run the server\'s own client, such as psql, with the rights of the app'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from help" -f -a "dump" -d 'Write a consistent dump of an app\'s data to stdout'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from help" -f -a "restore" -d 'Replace an app\'s data by a dump on stdin'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from help" -f -a "recover" -d 'Wait for the end of stdin, then complete or undo killed restores of apps\' data'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from help" -f -a "upgrade" -d 'Change to a newer version of the server, with all data; the old data is kept until it is confirmed'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from help" -f -a "destroy" -d 'Stop a service to which no app is bound, and remove it with its data'
complete -c piku-run -n "__fish_piku_run_using_subcommand service; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand notify" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand notify" -l test -d 'Send a test notification instead'
complete -c piku-run -n "__fish_piku_run_using_subcommand notify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand status" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand status" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand status" -l none -d 'Print no app, for a key that has none'
complete -c piku-run -n "__fish_piku_run_using_subcommand status" -l html -d 'Print one self-contained page, with charts of a day and the ends of the logs of deploys'
complete -c piku-run -n "__fish_piku_run_using_subcommand status" -l update -d 'Record the usage of all apps and write the page that nginx serves, if `status` of host.yaml is on'
complete -c piku-run -n "__fish_piku_run_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand status-password" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand status-password" -l stdin -d 'Read the password from stdin [default: make one and print it]'
complete -c piku-run -n "__fish_piku_run_using_subcommand status-password" -l remove -d 'Remove the reader'
complete -c piku-run -n "__fish_piku_run_using_subcommand status-password" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand metrics" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand metrics" -l none -d 'Print no app, for a key that has none'
complete -c piku-run -n "__fish_piku_run_using_subcommand metrics" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand destroy" -l confirm -d 'Name of the app, to confirm' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand destroy" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand destroy" -l now -d 'Keep nothing, not even the data'
complete -c piku-run -n "__fish_piku_run_using_subcommand destroy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and not __fish_seen_subcommand_from list run verify help" -l max-hours -d 'Give up after so many hours, such as 0.5 [default: never]' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and not __fish_seen_subcommand_from list run verify help" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and not __fish_seen_subcommand_from list run verify help" -l all -d 'Write all apps'
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and not __fish_seen_subcommand_from list run verify help" -l host -d 'Write all apps, and the settings, keys and certificates of the machine'
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and not __fish_seen_subcommand_from list run verify help" -l without-services -d 'Leave out the data that the apps have in services'
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and not __fish_seen_subcommand_from list run verify help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and not __fish_seen_subcommand_from list run verify help" -a "list" -d 'List the scheduled backups of host.yaml with their last results'
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and not __fish_seen_subcommand_from list run verify help" -a "run" -d 'Take the backups that host.yaml schedules, now'
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and not __fish_seen_subcommand_from list run verify help" -a "verify" -d 'Read a backup on stdin to its end, and list what is in it'
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and not __fish_seen_subcommand_from list run verify help" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and __fish_seen_subcommand_from list" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and __fish_seen_subcommand_from list" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and __fish_seen_subcommand_from list" -l problems -d 'Only print what is wrong, a line each; exits with 1 if anything is'
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and __fish_seen_subcommand_from run" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and __fish_seen_subcommand_from run" -l due -d 'Only those whose time has come; the daemon does that'
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and __fish_seen_subcommand_from run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and __fish_seen_subcommand_from verify" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and __fish_seen_subcommand_from verify" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the scheduled backups of host.yaml with their last results'
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and __fish_seen_subcommand_from help" -f -a "run" -d 'Take the backups that host.yaml schedules, now'
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and __fish_seen_subcommand_from help" -f -a "verify" -d 'Read a backup on stdin to its end, and list what is in it'
complete -c piku-run -n "__fish_piku_run_using_subcommand backup; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand restore" -l as -d 'Give the app of the backup another name' -r
complete -c piku-run -n "__fish_piku_run_using_subcommand restore" -l root -d 'Root directory of piku [default: ~/.piku]' -r -F
complete -c piku-run -n "__fish_piku_run_using_subcommand restore" -l resume -d 'Wait for the end of stdin, then start the app that a killed restore has stopped, or deploy the restored one'
complete -c piku-run -n "__fish_piku_run_using_subcommand restore" -l replace -d 'Replace apps that are there; each is saved first, and kept for `keep_destroyed` of host.yaml'
complete -c piku-run -n "__fish_piku_run_using_subcommand restore" -l dry-run -d 'Read the whole backup, print what would be restored, and change nothing'
complete -c piku-run -n "__fish_piku_run_using_subcommand restore" -l skip-deploy -d 'Do not deploy what is restored from a backup'
complete -c piku-run -n "__fish_piku_run_using_subcommand restore" -l without-services -d 'Bind the apps to no service, and leave out the data that they had there'
complete -c piku-run -n "__fish_piku_run_using_subcommand restore" -l host -d 'Restore the settings, keys and certificates of the machine, and no app'
complete -c piku-run -n "__fish_piku_run_using_subcommand restore" -l archive -d 'Restore from a backup on stdin, however long it takes to begin'
complete -c piku-run -n "__fish_piku_run_using_subcommand restore" -l kept -d 'Bring back the destroyed app, whatever stdin is; with --replace, what the app was before the last --replace'
complete -c piku-run -n "__fish_piku_run_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "daemon" -d 'Run one supervisor for each app, in the foreground; on SIGTERM it exits and instances keep running'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "nginx" -d 'Run piku\'s nginx in the foreground; SIGTERM stops it after its requests have finished, SIGHUP reloads host.yaml'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "apps" -d 'List the apps, with their state if it is unusual'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "domains" -d 'List, change or check the host names of apps'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "host-domain" -d 'Print or set the domain below which this machine serves apps without a name of their own'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "audit" -d 'Print who has done what: the audit log, oldest first'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "certs" -d 'Manage the certificates of the apps\' host names'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "data" -d 'Export, import or remove the app\'s own files, also after it was destroyed'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "protections" -d 'Show the protections between apps on this machine, and those recorded in host.yaml'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "maintenance" -d 'Answer all requests to an app with 503 and a maintenance page, or stop doing so'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "supervise" -d 'Supervise one app'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "data-usage" -d 'Measure the data of the apps that have a `DATA_LIMIT`'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "drain" -d 'Forward one app\'s logs to a syslog receiver'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "start" -d 'Run the processes of a Procfile with one log until Ctrl-C; needs no installation of piku'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "check" -d 'Check the settings of an app before it is built: limits, network, nginx'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "front" -d 'List the machines to which this machine\'s nginx passes the requests to an app'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "lock" -d 'Refuse deploys of an app until it is unlocked: pushes, rebuilds, releases from other machines'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "unlock" -d 'Allow deploys of a locked app again'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "deploy" -d 'Make a built release live; its directory is moved away'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "ps" -d 'List the instances of apps'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "scale" -d 'Set the number of instances of process types'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "restart" -d 'Replace all instances, or those of one type, by new ones of the same release; starts a stopped app'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "cron-run" -d 'Run a cron job once, now'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "stop" -d 'Stop all instances of an app until `restart` or a push'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "logs" -d 'Print the logs of an app\'s instances or of a deploy'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "releases" -d 'List the releases of an app, newest first'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "release-info" -d 'Describe a release, and how its settings and files differ from those of the one before it'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "rollback" -d 'Make a new release with the tree and config of an old one'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "gc" -d 'Remove old releases, unused layers, caches and image bases over their limits, and old deploy logs'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "config" -d 'Print or change the config of an app, which overrides its ENV file; each change makes a new release'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "grant" -d 'List, or add to, the devices, sockets and directories of this machine that an app may use'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "revoke" -d 'Take back paths that were granted to an app'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "exec" -d 'Run a command in the live release of an app, with its environment'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "import-piku" -d 'Take over the apps of a Python piku: repositories, settings, scale, data and certificates'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "import-app" -d 'Take over the settings and the scale of an app of Heroku or dokku, from what their commands print, on stdin'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "rename" -d 'Give an app another name, with its releases, config, data, certificates, grants, logs and keys'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "clone" -d 'Make another app with the code, config and formation of one'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "service" -d 'Manage services: databases and other servers that apps are bound to'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "notify" -d 'Tell the operator of new problems, in the ways that `notify` of host.yaml names'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "status" -d 'Show the machine and its apps: instances, usage, crons, certificates and the last deploys'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "status-password" -d 'Set the password of a reader of the status page, which nginx serves to readers only'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "metrics" -d 'Print the state of the machine and its apps as metrics for Prometheus'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "destroy" -d 'Remove an app; its repository, config and data are kept for `keep_destroyed` of host.yaml'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "backup" -d 'Write an app to stdout as a backup: repository, config, formation and data, while it runs'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "restore" -d 'Bring back a destroyed app, or apps from a backup on stdin, and deploy them'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and not __fish_seen_subcommand_from daemon nginx apps domains host-domain audit certs data protections maintenance supervise data-usage drain start check front lock unlock deploy ps scale restart cron-run stop logs releases release-info rollback gc config grant revoke exec import-piku import-app rename clone service notify status status-password metrics destroy backup restore help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from domains" -f -a "add" -d 'Add host names to the app\'s config, with a new release'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from domains" -f -a "remove" -d 'Remove host names from the app\'s config, with a new release'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from domains" -f -a "check" -d 'Check that DNS leads here and that nginx answers for each name'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from certs" -f -a "list" -d 'List the certificates: who issued them, until when they are valid, and what failed last'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from certs" -f -a "renew" -d 'Request missing certificates and those that expire within 30 days, through acme.sh or certbot; a timer runs this daily'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from data" -f -a "export" -d 'Write the files to stdout as a tar archive'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from data" -f -a "import" -d 'Unpack a tar archive from stdin into the directory, as a whole or not at all'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from data" -f -a "remove" -d 'Remove the files of a destroyed app'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from front" -f -a "prepare" -d 'Take over the settings of a release, and print the key for the machines; part of a deploy'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from front" -f -a "refresh" -d 'Have nginx send requests to the machines that answer and have the last release; part of a deploy'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from front" -f -a "drain" -d 'Send no requests to a machine until stdin ends; part of a deploy'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "get" -d 'Print one value'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "set" -d 'Set values and deploy a new release with them; if it does not come up, nothing changes'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "unset" -d 'Remove values, with a new release as for set'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "import" -d 'Set the values of an ENV file on stdin, with a new release as for set'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from service" -f -a "create" -d 'Make a service and start it'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from service" -f -a "list" -d 'List the services and the apps that are bound to them'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from service" -f -a "info" -d 'Describe a service'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from service" -f -a "bind" -d 'Give an app a database of its own, with its address in the app\'s config, as a new release'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from service" -f -a "unbind" -d 'Take a service away from an app, as a new release; its data is kept'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from service" -f -a "drop" -d 'Remove the data of an app that is not bound any more'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from service" -f -a "console" -d 'Run the server\'s own client, such as psql, with the rights of the app'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from service" -f -a "dump" -d 'Write a consistent dump of an app\'s data to stdout'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from service" -f -a "restore" -d 'Replace an app\'s data by a dump on stdin'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from service" -f -a "recover" -d 'Wait for the end of stdin, then complete or undo killed restores of apps\' data'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from service" -f -a "upgrade" -d 'Change to a newer version of the server, with all data; the old data is kept until it is confirmed'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from service" -f -a "destroy" -d 'Stop a service to which no app is bound, and remove it with its data'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from backup" -f -a "list" -d 'List the scheduled backups of host.yaml with their last results'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from backup" -f -a "run" -d 'Take the backups that host.yaml schedules, now'
complete -c piku-run -n "__fish_piku_run_using_subcommand help; and __fish_seen_subcommand_from backup" -f -a "verify" -d 'Read a backup on stdin to its end, and list what is in it'
