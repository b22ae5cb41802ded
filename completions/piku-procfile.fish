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
complete -c piku-procfile -n "__fish_piku_procfile_needs_command" -f -a "check" -d 'Check a Procfile; a good one prints nothing'
complete -c piku-procfile -n "__fish_piku_procfile_needs_command" -f -a "list" -d 'List the process types of a Procfile'
complete -c piku-procfile -n "__fish_piku_procfile_needs_command" -f -a "show" -d 'Print the command of a process type'
complete -c piku-procfile -n "__fish_piku_procfile_needs_command" -f -a "env" -d 'Print the variables of an ENV file'
complete -c piku-procfile -n "__fish_piku_procfile_needs_command" -f -a "render" -d 'Convert a Procfile and an ENV file to the configuration of nginx, systemd, cron or a container engine'
complete -c piku-procfile -n "__fish_piku_procfile_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand check" -l strict -d 'Reject process types that are not DNS labels'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand check" -l piku-compat -d 'Accept duplicate names, bad names and malformed lines with a warning, as the Python piku does'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand list" -l format -d 'Output format; \'text\' is a Procfile again' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand list" -l strict -d 'Reject process types that are not DNS labels'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand list" -l piku-compat -d 'Accept duplicate names, bad names and malformed lines with a warning, as the Python piku does'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand show" -l strict -d 'Reject process types that are not DNS labels'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand show" -l piku-compat -d 'Accept duplicate names, bad names and malformed lines with a warning, as the Python piku does'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand env" -l format -d 'Output format; \'text\' is quoted for a shell' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand env" -l check -d 'Only check the file; a good one prints nothing'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand env" -l piku-compat -d 'Keep the quotes around values, as the Python piku does'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand env" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and not __fish_seen_subcommand_from nginx systemd crontab kubernetes compose quadlet help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and not __fish_seen_subcommand_from nginx systemd crontab kubernetes compose quadlet help" -f -a "nginx" -d 'Print the nginx server block of an app, or the nginx.conf of an instance that runs without root'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and not __fish_seen_subcommand_from nginx systemd crontab kubernetes compose quadlet help" -f -a "systemd" -d 'Print the systemd units of an app\'s processes and cron jobs'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and not __fish_seen_subcommand_from nginx systemd crontab kubernetes compose quadlet help" -f -a "crontab" -d 'Print an app\'s cron jobs as a crontab for cron(8)'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and not __fish_seen_subcommand_from nginx systemd crontab kubernetes compose quadlet help" -f -a "kubernetes" -d 'Print the objects of Kubernetes that run an app\'s image'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and not __fish_seen_subcommand_from nginx systemd crontab kubernetes compose quadlet help" -f -a "compose" -d 'Print a file of Docker Compose that runs an app\'s image'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and not __fish_seen_subcommand_from nginx systemd crontab kubernetes compose quadlet help" -f -a "quadlet" -d 'Print units of Quadlet, by which systemd runs an app\'s image with podman'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and not __fish_seen_subcommand_from nginx systemd crontab kubernetes compose quadlet help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l app -d 'Name of the app' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l procfile -d 'Procfile, or \'-\' for stdin' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l env -d 'ENV file; it may be missing' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l upstream -d 'Address of an instance that serves HTTP; repeat for each instance' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l root -d 'Built app tree, /app in the jail' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l data -d 'Data directory of the app, /data in the jail' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l listen -d 'Address to listen on for HTTP; repeat for several' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l listen-tls -d 'Address to listen on for HTTPS; repeat for several' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l certificate -d 'Certificate with its chain; without it there is no HTTPS' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l key -d 'Private key of the certificate' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l acme-root -d 'Directory in which an ACME client writes .well-known/acme-challenge' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l cache -d 'Directory for cached responses; the app\'s own are in a subdirectory with its name' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l passwords -d 'Path of the password file, which \'--print passwords\' prints' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l logs -d 'Directory for the app\'s logs, APP.access.log and APP.error.log' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l cloudflare-ranges -d 'Address ranges of Cloudflare, one per line, in place of the built-in list' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l http2 -d 'Syntax that enables HTTP/2 on HTTPS' -r -f -a "listen\t'As a parameter of `listen`, which every nginx accepts; 1.25.1 and later warn that it is deprecated'
on\t'With the directive `http2` of nginx 1.25.1 and later'
off\t'No HTTP/2'"
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l connections -d 'Maximum number of concurrent requests; further ones get 503' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l trusted-proxy -d 'Proxy in front whose X-Forwarded-* headers are passed on: an address, a range or \'private\'; repeat for several' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l print -d 'File to print' -r -f -a "server\t'The server block'
passwords\t'The password file'
shared\t'The settings that apps share, for \'--shared\''"
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l main -d 'Print the nginx.conf of an instance that uses only DIR and includes DIR/apps/*.conf' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l shutdown-timeout -d 'Time for old worker processes to finish their requests after a reload' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l worker-connections -d 'Maximum number of connections per worker process' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l no-ipv6 -d 'Listen on IPv4 only'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l maintenance -d 'Respond to every request with 503 and a maintenance page'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -l shared -d 'Leave out what \'--print shared\' prints, which nginx then has to read once for all apps'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from nginx" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from systemd" -l app -d 'Name of the app' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from systemd" -l procfile -d 'Procfile, or \'-\' for stdin' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from systemd" -l env -d 'ENV file; it may be missing' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from systemd" -l dir -d 'Working directory of the commands' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from systemd" -l user -d 'User that runs the commands' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from systemd" -s m -l formation -d 'Number of instances of each type that the target starts; default 1' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from systemd" -l port -d 'First port; each further type that listens begins 100 higher' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from systemd" -l output -d 'Write the units to this directory instead of printing them' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from systemd" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from crontab" -l app -d 'Name of the app' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from crontab" -l procfile -d 'Procfile, or \'-\' for stdin' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from crontab" -l env -d 'ENV file; it may be missing' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from crontab" -l dir -d 'Working directory of the commands' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from crontab" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l app -d 'Name of the app' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l procfile -d 'Procfile, or \'-\' for stdin' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l env -d 'ENV file; it may be missing' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l image -d 'Image of the release, with its tag or digest' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l release -d 'Number of the release' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l config -d 'Stored config, a JSON object of strings as \'piku config APP --format json\' prints it; it overrides the ENV file' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -s m -l formation -d 'Number of instances of each type; default 1' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l uid -d 'User id of all processes' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l namespace -d 'Namespace of all objects' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l host -d 'Host name of the app, in place of those that the ENV file sets; repeat for several' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l ingress-class -d 'Class of the ingress, such as \'traefik\'' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l cluster-issuer -d 'Cluster issuer of cert-manager that issues the certificate' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l traefik-resolver -d 'Certificate resolver of Traefik that requests the certificate' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l data-size -d 'Size of the volume at /data; without it, files there end with the pod' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l storage-class -d 'Storage class of the volume' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l architecture -d 'Architectures of the image; pods run on nodes that have one of them. Default: on all nodes' -r -f -a "amd64\t''
arm64\t''
arm\t''
386\t''
loong64\t''
ppc64le\t''
riscv64\t''
s390x\t''"
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l pull-secret -d 'Secret with the password of the image\'s registry' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l stage -d 'Step of a deploy whose objects are printed' -r -f -a "all\t'All objects'
config\t'Configuration and volume'
release\t'The job of \'release\''
rollout\t'Everything that serves or runs on a schedule'"
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l writable-root -d 'Let the app write anywhere in its container, not only in /data and /tmp'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -l shared-data -d 'Use a volume that pods on several nodes may mount at once'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from kubernetes" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from compose" -l app -d 'Name of the app' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from compose" -l procfile -d 'Procfile, or \'-\' for stdin' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from compose" -l env -d 'ENV file; it may be missing' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from compose" -l image -d 'Image of the release, with its tag or digest' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from compose" -l release -d 'Number of the release' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from compose" -l config -d 'Stored config, a JSON object of strings as \'piku config APP --format json\' prints it; it overrides the ENV file' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from compose" -s m -l formation -d 'Number of instances of each type; default 1' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from compose" -l uid -d 'User id of all processes' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from compose" -l port -d 'Port on loopback of the first instance that gets requests; further ones follow' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from compose" -l writable-root -d 'Let the app write anywhere in its container, not only in /data and /tmp'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from compose" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from quadlet" -l app -d 'Name of the app' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from quadlet" -l procfile -d 'Procfile, or \'-\' for stdin' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from quadlet" -l env -d 'ENV file; it may be missing' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from quadlet" -l image -d 'Image of the release, with its tag or digest' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from quadlet" -l release -d 'Number of the release' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from quadlet" -l config -d 'Stored config, a JSON object of strings as \'piku config APP --format json\' prints it; it overrides the ENV file' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from quadlet" -s m -l formation -d 'Number of instances of each type; default 1' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from quadlet" -l uid -d 'User id of all processes' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from quadlet" -l port -d 'Port on loopback of the first instance that gets requests; further ones follow' -r
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from quadlet" -l output -d 'Write the units to this directory instead of printing them: ~/.config/containers/systemd or /etc/containers/systemd' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from quadlet" -l timers -d 'Write the timers of cron jobs to this directory: ~/.config/systemd/user or /etc/systemd/system' -r -F
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from quadlet" -l writable-root -d 'Let the app write anywhere in its container, not only in /data and /tmp'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from quadlet" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from help" -f -a "nginx" -d 'Print the nginx server block of an app, or the nginx.conf of an instance that runs without root'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from help" -f -a "systemd" -d 'Print the systemd units of an app\'s processes and cron jobs'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from help" -f -a "crontab" -d 'Print an app\'s cron jobs as a crontab for cron(8)'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from help" -f -a "kubernetes" -d 'Print the objects of Kubernetes that run an app\'s image'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from help" -f -a "compose" -d 'Print a file of Docker Compose that runs an app\'s image'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from help" -f -a "quadlet" -d 'Print units of Quadlet, by which systemd runs an app\'s image with podman'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand render; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and not __fish_seen_subcommand_from check list show env render help" -f -a "check" -d 'Check a Procfile; a good one prints nothing'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and not __fish_seen_subcommand_from check list show env render help" -f -a "list" -d 'List the process types of a Procfile'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and not __fish_seen_subcommand_from check list show env render help" -f -a "show" -d 'Print the command of a process type'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and not __fish_seen_subcommand_from check list show env render help" -f -a "env" -d 'Print the variables of an ENV file'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and not __fish_seen_subcommand_from check list show env render help" -f -a "render" -d 'Convert a Procfile and an ENV file to the configuration of nginx, systemd, cron or a container engine'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and not __fish_seen_subcommand_from check list show env render help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and __fish_seen_subcommand_from render" -f -a "nginx" -d 'Print the nginx server block of an app, or the nginx.conf of an instance that runs without root'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and __fish_seen_subcommand_from render" -f -a "systemd" -d 'Print the systemd units of an app\'s processes and cron jobs'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and __fish_seen_subcommand_from render" -f -a "crontab" -d 'Print an app\'s cron jobs as a crontab for cron(8)'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and __fish_seen_subcommand_from render" -f -a "kubernetes" -d 'Print the objects of Kubernetes that run an app\'s image'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and __fish_seen_subcommand_from render" -f -a "compose" -d 'Print a file of Docker Compose that runs an app\'s image'
complete -c piku-procfile -n "__fish_piku_procfile_using_subcommand help; and __fish_seen_subcommand_from render" -f -a "quadlet" -d 'Print units of Quadlet, by which systemd runs an app\'s image with podman'
