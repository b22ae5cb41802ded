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

complete -c piku-receive -n "__fish_piku_receive_needs_command" -l key -d 'The name of the key that came in' -r
complete -c piku-receive -n "__fish_piku_receive_needs_command" -l app -d 'An app that this key reaches; all apps when not given' -r
complete -c piku-receive -n "__fish_piku_receive_needs_command" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_needs_command" -l scripts -d 'The folder with post-receive and piku [default: ../lib/piku beside this program]' -r -F
complete -c piku-receive -n "__fish_piku_receive_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -s V -l version -d 'Print version'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "key" -d 'Who may come in'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "deploy" -d 'Deploy the tip of a branch that is there already'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "cancel" -d 'End the build that is under way; the push that began it fails'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "targets" -d 'Ask the machines of `deploy_to` what they are, and print what is to be built for whom'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "ship" -d 'Send the machines of `deploy_to` the release that was built for them and have each of them deploy it; fails when one of them does'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "export" -d 'Write the tree of a commit, submodules included, into a new folder'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "begin-deploy" -d 'In the hook: record that a deploy begins and print its COMMIT, NUMBER and push options, or nothing if none is due; reads git\'s \'OLD NEW REF\' lines from stdin'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "finish-deploy" -d 'In the hook: record that the deploy is live'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "record" -d 'In the hook: copy stdin to stdout and into the deploy\'s log, as much as `deploy_log` in host.yaml says'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "admit" -d 'Git\'s pre-receive hook: refuse what cannot be deployed before it is stored'
complete -c piku-receive -n "__fish_piku_receive_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and not __fish_seen_subcommand_from add list remove help" -s h -l help -d 'Print help'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and not __fish_seen_subcommand_from add list remove help" -f -a "add" -d 'Let a key in; the public key is read from stdin'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and not __fish_seen_subcommand_from add list remove help" -f -a "list" -d 'Print the keys that piku has let in'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and not __fish_seen_subcommand_from add list remove help" -f -a "remove" -d 'Shut a key out'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and not __fish_seen_subcommand_from add list remove help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from add" -l app -d 'An app that this key reaches; all apps when not given' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from add" -l authorized-keys -d 'The file that sshd reads [default: ~/.ssh/authorized_keys]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from add" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from add" -l scripts -d 'The folder with post-receive and piku [default: ../lib/piku beside this program]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from list" -l format -d 'The form of the output' -r -f -a "text\t'For people'
json\t'For programs'
yaml\t'For both'"
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from list" -l authorized-keys -d 'The file that sshd reads [default: ~/.ssh/authorized_keys]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from remove" -l authorized-keys -d 'The file that sshd reads [default: ~/.ssh/authorized_keys]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "add" -d 'Let a key in; the public key is read from stdin'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "list" -d 'Print the keys that piku has let in'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Shut a key out'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand deploy" -l rebuild -d 'Build this commit, the live one, again; deploy it only when that comes to something else' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand deploy" -l wait -d 'Wait no longer than this for whoever is changing the app' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand deploy" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand deploy" -l scripts -d 'The folder with post-receive and piku [default: ../lib/piku beside this program]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand deploy" -l by -d 'In whose name' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand deploy" -l dry-run -d 'Show the plan, deploy nothing'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand deploy" -l no-cache -d 'Build everything anew'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand deploy" -s h -l help -d 'Print help'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand cancel" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand cancel" -l by -d 'In whose name' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand cancel" -s h -l help -d 'Print help'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand targets" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand targets" -l scripts -d 'The folder with post-receive and piku [default: ../lib/piku beside this program]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand targets" -l app -d 'The app' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand targets" -l by -d 'In whose name' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand targets" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand ship" -l targets -d 'The list that \'targets\' has printed' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand ship" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand ship" -l scripts -d 'The folder with post-receive and piku [default: ../lib/piku beside this program]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand ship" -l app -d 'The app' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand ship" -l by -d 'In whose name' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand ship" -s h -l help -d 'Print help'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand export" -l settings -d 'host.yaml: how much of the disk stays free; all defaults when not given' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand export" -s h -l help -d 'Print help'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand begin-deploy" -l repo -d 'The bare repository' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand begin-deploy" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand begin-deploy" -l app -d 'The app' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand begin-deploy" -l by -d 'In whose name' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand begin-deploy" -s h -l help -d 'Print help'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand finish-deploy" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand finish-deploy" -l app -d 'The app' -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand finish-deploy" -l dry-run -d 'Record that its plan was shown and nothing deployed'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand finish-deploy" -s h -l help -d 'Print help'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand record" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand record" -s h -l help -d 'Print help'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand admit" -l root -r -F
complete -c piku-receive -n "__fish_piku_receive_using_subcommand admit" -l app -r
complete -c piku-receive -n "__fish_piku_receive_using_subcommand admit" -s h -l help -d 'Print help'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key deploy cancel targets ship export begin-deploy finish-deploy record admit help" -f -a "key" -d 'Who may come in'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key deploy cancel targets ship export begin-deploy finish-deploy record admit help" -f -a "deploy" -d 'Deploy the tip of a branch that is there already'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key deploy cancel targets ship export begin-deploy finish-deploy record admit help" -f -a "cancel" -d 'End the build that is under way; the push that began it fails'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key deploy cancel targets ship export begin-deploy finish-deploy record admit help" -f -a "targets" -d 'Ask the machines of `deploy_to` what they are, and print what is to be built for whom'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key deploy cancel targets ship export begin-deploy finish-deploy record admit help" -f -a "ship" -d 'Send the machines of `deploy_to` the release that was built for them and have each of them deploy it; fails when one of them does'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key deploy cancel targets ship export begin-deploy finish-deploy record admit help" -f -a "export" -d 'Write the tree of a commit, submodules included, into a new folder'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key deploy cancel targets ship export begin-deploy finish-deploy record admit help" -f -a "begin-deploy" -d 'In the hook: record that a deploy begins and print its COMMIT, NUMBER and push options, or nothing if none is due; reads git\'s \'OLD NEW REF\' lines from stdin'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key deploy cancel targets ship export begin-deploy finish-deploy record admit help" -f -a "finish-deploy" -d 'In the hook: record that the deploy is live'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key deploy cancel targets ship export begin-deploy finish-deploy record admit help" -f -a "record" -d 'In the hook: copy stdin to stdout and into the deploy\'s log, as much as `deploy_log` in host.yaml says'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key deploy cancel targets ship export begin-deploy finish-deploy record admit help" -f -a "admit" -d 'Git\'s pre-receive hook: refuse what cannot be deployed before it is stored'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and not __fish_seen_subcommand_from key deploy cancel targets ship export begin-deploy finish-deploy record admit help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "add" -d 'Let a key in; the public key is read from stdin'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "list" -d 'Print the keys that piku has let in'
complete -c piku-receive -n "__fish_piku_receive_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "remove" -d 'Shut a key out'
