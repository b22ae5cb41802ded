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
complete -c piku-procfile -n "__fish_piku_procfile_needs_command" -f -a "render" -d 'Prints an app\'s Procfile and ENV in the form that another program reads'
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
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and not __fish_seen_subcommand_from nginx systemd crontab help" -s h -l help -d 'Print help'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and not __fish_seen_subcommand_from nginx systemd crontab help" -f -a "nginx" -d 'Prints an app\'s file for nginx, or the nginx.conf of an instance that needs no root'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and not __fish_seen_subcommand_from nginx systemd crontab help" -f -a "systemd" -d 'Prints the units of an app\'s workers and crons for systemd'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and not __fish_seen_subcommand_from nginx systemd crontab help" -f -a "crontab" -d 'Prints an app\'s crons as a crontab for cron(8)'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and not __fish_seen_subcommand_from nginx systemd crontab help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l app -d 'The app\'s name' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l procfile -d 'The Procfile; \'-\' is stdin' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l env -d 'The ENV file; an app needs none' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l upstream -d 'An instance of the app that answers HTTP; one for each' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l root -d 'The built tree, which is /app to the app' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l data -d 'The app\'s own files, which are /data to the app' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l listen -d 'Where to listen for HTTP; may be given again' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l listen-tls -d 'Where to listen for HTTPS; may be given again' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l certificate -d 'The certificate with its chain; without one there is no HTTPS' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l key -d 'The key of the certificate' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l acme-root -d 'The folder with an ACME client\'s answers, in .well-known/acme-challenge' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l cache -d 'The folder for cached answers; this app\'s are in NAME below it' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l passwords -d 'Where the file with names and passwords is going to be' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l cloudflare-ranges -d 'Who is Cloudflare, a range of addresses a line, instead of those known' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l http2 -d 'How to speak HTTP/2 with those who come by HTTPS' -r -f -a "listen\t'As a word of `listen`: every nginx takes it; 1.25.1 and newer say that it is old'
on\t'As a directive of its own: nginx 1.25.1 and newer'
off\t'Not at all'"
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l connections -d 'How many requests to the app may be under way at once; others are answered with 503' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l print -d 'What to print' -r -f -a "server\t'The file for nginx'
passwords\t'The file that --passwords names'"
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l main -d 'Print the nginx.conf of an instance that keeps to DIR and includes DIR/apps/*.conf instead' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l shutdown-timeout -d 'After a reload, how long the old processes may finish what they have begun' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l worker-connections -d 'How many connections each worker process may have' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l no-ipv6 -d 'Listen on IPv4 only'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l maintenance -d 'Answer everything with 503 and a page that says why'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from systemd" -l app -d 'The app\'s name' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from systemd" -l procfile -d 'The Procfile; \'-\' is stdin' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from systemd" -l env -d 'The ENV file; an app needs none' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from systemd" -l dir -d 'The folder in which commands run' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from systemd" -l user -d 'The user who runs them' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from systemd" -s m -l formation -d 'How many of each type the target starts; one where it says nothing' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from systemd" -l port -d 'The first port; each further type that listens begins 100 above' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from systemd" -l output -d 'Write the units into this folder instead of printing them' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from systemd" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from crontab" -l app -d 'The app\'s name' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from crontab" -l procfile -d 'The Procfile; \'-\' is stdin' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from crontab" -l env -d 'The ENV file; an app needs none' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from crontab" -l dir -d 'The folder in which commands run' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from crontab" -s h -l help -d 'Print help'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from help" -f -a "nginx" -d 'Prints an app\'s file for nginx, or the nginx.conf of an instance that needs no root'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from help" -f -a "systemd" -d 'Prints the units of an app\'s workers and crons for systemd'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from help" -f -a "crontab" -d 'Prints an app\'s crons as a crontab for cron(8)'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and not __fish_seen_subcommand_from check list show env render help" -f -a "check" -d 'Checks a Procfile; prints nothing when all is well'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and not __fish_seen_subcommand_from check list show env render help" -f -a "list" -d 'Prints the process types of a Procfile'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and not __fish_seen_subcommand_from check list show env render help" -f -a "show" -d 'Prints the command of one process type'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and not __fish_seen_subcommand_from check list show env render help" -f -a "env" -d 'Prints the variables of an ENV file with their values'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and not __fish_seen_subcommand_from check list show env render help" -f -a "render" -d 'Prints an app\'s Procfile and ENV in the form that another program reads'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and not __fish_seen_subcommand_from check list show env render help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and __fish_seen_subcommand_from render" -f -a "nginx" -d 'Prints an app\'s file for nginx, or the nginx.conf of an instance that needs no root'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and __fish_seen_subcommand_from render" -f -a "systemd" -d 'Prints the units of an app\'s workers and crons for systemd'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and __fish_seen_subcommand_from render" -f -a "crontab" -d 'Prints an app\'s crons as a crontab for cron(8)'
