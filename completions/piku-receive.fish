# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_piku_receive_global_optspecs
    string join \n key= app= root= scripts= h/help V/version
end

function __fish_piku_receive_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_piku_receive_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_piku_receive_using_subcommand
    set -l cmd (__fish_piku_receive_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c piku-receive -n "__fish_piku_receive_needs_command" -l key -d 'Name of the client\'s key' -r
complete -c piku-receive -n "__fish_piku_receive_needs_command" -l app -d 'App that the key may use [default: all apps]' -r
complete -c piku-receive -n "__fish_piku_receive_needs_command" -l root -d 'Directory of all data of piku [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_needs_command" -l scripts -d 'Directory of post-receive and piku [default: ../lib/piku beside this program]' -r -F
complete -c piku-receive -n "__fish_piku_receive_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -s V -l version -d 'Print version'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "key" -d 'Manage the keys that may push and run verbs'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "create" -d 'Create an app before its first push'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "deploy" -d 'Deploy the tip of a branch without a push'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "cancel" -d 'End the running build, so that its push fails'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "targets" -d 'Ask the machines in `deploy_to` for their platforms and print what must be built'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "distribute" -d 'Send each machine in `deploy_to` the release for its platform and deploy it there'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "catch-up" -d 'Send the last release to machines that were down at its deploy, if they are back'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "relay" -d 'Execute a verb about an app of machines in `deploy_to` where the app runs'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "export" -d 'Write the tree of a commit and its submodules to a new directory'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "begin-deploy" -d 'Begin the deploy of a push (for the hook)'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "finish-deploy" -d 'Record that a deploy is live (for the hook)'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "record" -d 'Copy the output of a deploy to the push and to its log (for the hook)'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "admit" -d 'Refuse what cannot be deployed before git stores it (for the pre-receive hook)'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and not __fish_seen_subcommand_from add list rename-app remove help" -s h -l help -d 'Print help'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and not __fish_seen_subcommand_from add list rename-app remove help" -f -a "add" -d 'Add a key; the public key is read from stdin'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and not __fish_seen_subcommand_from add list rename-app remove help" -f -a "list" -d 'List the keys of piku'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and not __fish_seen_subcommand_from add list rename-app remove help" -f -a "rename-app" -d 'Replace an app by another in the scope of each key (for `piku-run rename`)'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and not __fish_seen_subcommand_from add list rename-app remove help" -f -a "remove" -d 'Remove a key'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and not __fish_seen_subcommand_from add list rename-app remove help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from add" -l app -d 'App that the key may use [default: all apps]' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from add" -l authorized-keys -d 'File that sshd reads [default: `~/.ssh/authorized_keys`]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from add" -l root -d 'Directory of all data of piku [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from add" -l scripts -d 'Directory of post-receive and piku [default: ../lib/piku beside this program]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from list" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from list" -l authorized-keys -d 'File that sshd reads [default: `~/.ssh/authorized_keys`]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from rename-app" -l authorized-keys -d 'File that sshd reads [default: `~/.ssh/authorized_keys`]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from rename-app" -l root -d 'Directory of the app; keys for another one are left alone' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from rename-app" -s h -l help -d 'Print help'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from remove" -l authorized-keys -d 'File that sshd reads [default: `~/.ssh/authorized_keys`]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from remove" -l root -d 'Directory of all data of piku, with the audit log [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "add" -d 'Add a key; the public key is read from stdin'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the keys of piku'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "rename-app" -d 'Replace an app by another in the scope of each key (for `piku-run rename`)'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Remove a key'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand create" -l root -d 'Directory of all data of piku [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand create" -l scripts -d 'Directory of post-receive and piku [default: ../lib/piku beside this program]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand create" -l by -d 'Name of the key in records' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand create" -l if-missing -d 'Print nothing and succeed if the app exists'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand deploy" -l rebuild -d 'Rebuild this commit, the live one, and deploy it only if the result differs' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand deploy" -l wait -d 'Time to wait for another change of the app [default: `lock_timeout` of host.yaml]' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand deploy" -l root -d 'Directory of all data of piku [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand deploy" -l scripts -d 'Directory of post-receive and piku [default: ../lib/piku beside this program]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand deploy" -l by -d 'Name of the key in records' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand deploy" -l dry-run -d 'Print the build plan and deploy nothing'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand deploy" -l no-cache -d 'Ignore all caches'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand deploy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand cancel" -l root -d 'Directory of all data of piku [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand cancel" -l by -d 'Name of the key in records' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand cancel" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand targets" -l machines -d 'File for what the machines have answered, by which \'piku-build\' knows before a build what they lack' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand targets" -l root -d 'Directory of all data of piku [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand targets" -l scripts -d 'Directory of post-receive and piku [default: ../lib/piku beside this program]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand targets" -l app -d 'Name of the app' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand targets" -l by -d 'Name of the key in records' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand targets" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand distribute" -l targets -d 'List from \'targets\'' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand distribute" -l root -d 'Directory of all data of piku [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand distribute" -l scripts -d 'Directory of post-receive and piku [default: ../lib/piku beside this program]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand distribute" -l app -d 'Name of the app' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand distribute" -l by -d 'Name of the key in records' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand distribute" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand catch-up" -l root -d 'Directory of all data of piku [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand catch-up" -l scripts -d 'Directory of post-receive and piku [default: ../lib/piku beside this program]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand catch-up" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand relay" -l root -d 'Directory of all data of piku [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand relay" -l scripts -d 'Directory of post-receive and piku [default: ../lib/piku beside this program]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand relay" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand export" -l settings -d 'host.yaml with the disk space that stays free [default: the defaults]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand export" -l config -d 'config.json of the app, with the key for private submodules [default: no key]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand export" -l update -d 'Make the directory of an earlier export with this option equal to the commit'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand begin-deploy" -l repo -d 'Bare repository' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand begin-deploy" -l root -d 'Directory of all data of piku [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand begin-deploy" -l app -d 'Name of the app' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand begin-deploy" -l by -d 'Name of the key in records' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand begin-deploy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand finish-deploy" -l root -d 'Directory of all data of piku [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand finish-deploy" -l app -d 'Name of the app' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand finish-deploy" -l dry-run -d 'Record that its plan was printed and nothing was deployed'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand finish-deploy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand record" -l root -d 'Directory of all data of piku [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand record" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand admit" -l root -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand admit" -l app -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand admit" -s h -l help -d 'Print help'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key create deploy cancel targets distribute catch-up relay export begin-deploy finish-deploy record admit help" -f -a "key" -d 'Manage the keys that may push and run verbs'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key create deploy cancel targets distribute catch-up relay export begin-deploy finish-deploy record admit help" -f -a "create" -d 'Create an app before its first push'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key create deploy cancel targets distribute catch-up relay export begin-deploy finish-deploy record admit help" -f -a "deploy" -d 'Deploy the tip of a branch without a push'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key create deploy cancel targets distribute catch-up relay export begin-deploy finish-deploy record admit help" -f -a "cancel" -d 'End the running build, so that its push fails'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key create deploy cancel targets distribute catch-up relay export begin-deploy finish-deploy record admit help" -f -a "targets" -d 'Ask the machines in `deploy_to` for their platforms and print what must be built'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key create deploy cancel targets distribute catch-up relay export begin-deploy finish-deploy record admit help" -f -a "distribute" -d 'Send each machine in `deploy_to` the release for its platform and deploy it there'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key create deploy cancel targets distribute catch-up relay export begin-deploy finish-deploy record admit help" -f -a "catch-up" -d 'Send the last release to machines that were down at its deploy, if they are back'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key create deploy cancel targets distribute catch-up relay export begin-deploy finish-deploy record admit help" -f -a "relay" -d 'Execute a verb about an app of machines in `deploy_to` where the app runs'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key create deploy cancel targets distribute catch-up relay export begin-deploy finish-deploy record admit help" -f -a "export" -d 'Write the tree of a commit and its submodules to a new directory'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key create deploy cancel targets distribute catch-up relay export begin-deploy finish-deploy record admit help" -f -a "begin-deploy" -d 'Begin the deploy of a push (for the hook)'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key create deploy cancel targets distribute catch-up relay export begin-deploy finish-deploy record admit help" -f -a "finish-deploy" -d 'Record that a deploy is live (for the hook)'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key create deploy cancel targets distribute catch-up relay export begin-deploy finish-deploy record admit help" -f -a "record" -d 'Copy the output of a deploy to the push and to its log (for the hook)'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key create deploy cancel targets distribute catch-up relay export begin-deploy finish-deploy record admit help" -f -a "admit" -d 'Refuse what cannot be deployed before git stores it (for the pre-receive hook)'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key create deploy cancel targets distribute catch-up relay export begin-deploy finish-deploy record admit help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "add" -d 'Add a key; the public key is read from stdin'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "list" -d 'List the keys of piku'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "rename-app" -d 'Replace an app by another in the scope of each key (for `piku-run rename`)'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "remove" -d 'Remove a key'
