complete -c piku-chroot -l root -d 'The same from the tree in DIR instead of the host\'s own' -r -F
complete -c piku-chroot -l bind -d 'Show SRC at DST, writable; a colon in a path is written `\\:`, a backslash `\\\\`' -r
complete -c piku-chroot -l ro -d 'Show SRC at DST, read-only' -r
complete -c piku-chroot -l tmpfs -d 'An empty writable folder in memory, of at most 65536 files; SIZE in bytes, with k, m or g, or in percent of the memory' -r
complete -c piku-chroot -l tmp-size -d 'The size of /tmp, where no other option puts anything there [default: 64m]' -r
complete -c piku-chroot -l app -d 'Show DIR read-only at /app, which becomes HOME and the working directory' -r -F
complete -c piku-chroot -l data -d 'Show DIR writable at /data' -r -F
complete -c piku-chroot -l net -d 'The host\'s network, one of its own that leads nowhere but to itself, or none [default: shared]' -r -f -a "shared\t'The host\'s network'
own\t'A network of the jail\'s own: pasta(1) connects it to everything but the host\'s loopback, and lets in the ports of --listen'
loopback\t'A loopback device alone'
none\t'No device'"
complete -c piku-chroot -l listen -d 'Let COMMAND bind TCP sockets to PORT, and to no port that is not named so; a port that the kernel picks is always allowed' -r
complete -c piku-chroot -l env -d 'A variable for COMMAND' -r
complete -c piku-chroot -l keep-env -d 'A variable of the caller for COMMAND, when it is set' -r
complete -c piku-chroot -l env-prefix -d 'All variables of the caller that begin with PREFIX, without it' -r
complete -c piku-chroot -l hostname -d 'The name of the machine inside [default: jail]' -r
complete -c piku-chroot -l chdir -d 'The working directory inside [default: /app where there is one, else /]' -r -F
complete -c piku-chroot -l user -d 'Become this user first (only root can)' -r
complete -c piku-chroot -l uid-range -d 'Run COMMAND as a user of its own: NAME has one of the caller\'s subordinate uids and gids, the same one at each start' -r
complete -c piku-chroot -l uid-registry -d 'Where it stands which name has which uid [default: ~/.local/state/piku-chroot/uid-ranges]' -r -F
complete -c piku-chroot -l die-with -d 'End the command with SIGKILL when this process, the caller, ends; without it the command stays' -r
complete -c piku-chroot -l profile -d 'Set the options that piku sets for a build step or for a process of an app; other options win over them' -r -f -a "build\t'A build step. piku adds the app at /app, a directory for HOME and temporary files, caches and layers'
run\t'A process of an app: a worker, a release task, a cron job or an operator\'s command. piku adds the app, its data, its layers, its environment and its host name'"
complete -c piku-chroot -l limit -d 'At most so much for the whole jail: memory=SIZE (with k, m or g, or in percent of the machine\'s), pids=N, cpu=N.N (processors); and nofile=N (open files of each process). Held by a cgroup where one is delegated, else by rlimits' -r
complete -c piku-chroot -l oom-score-adj -d 'When the machine runs out of memory, the kernel ends COMMAND before others of its size: from 0, no sooner, to 1000' -r
complete -c piku-chroot -l report -d 'Write to FILE what holds when COMMAND runs, and how it ended, as one JSON object each on a line' -r -F
complete -c piku-chroot -l require -d 'Refuse to start where this protection is missing: namespaces, seccomp, landlock, abstract-sockets or listen-ports' -r
complete -c piku-chroot -l format -d 'How --check prints' -r -f -a "text\t'A table'
json\t'A JSON array'"
complete -c piku-chroot -l root-from-host -d 'Let in the host\'s programs and libraries (/usr and the like) read-only, and those files of /etc that programs need'
complete -c piku-chroot -l give-back -d 'Make DIR of --data the caller\'s again, with all in it that is NAME\'s, then run COMMAND as the caller'
complete -c piku-chroot -l tty -d 'Give COMMAND a terminal of its own, and carry between it and stdin and stdout; what comes in counts as typed'
complete -c piku-chroot -l strict -d 'Refuse to start when a layer is missing that could be done without'
complete -c piku-chroot -l check -d 'Print which layers hold on this machine, why not, and what mends it; exit code 1 when a required one is missing'
complete -c piku-chroot -l quiet -d 'With --check: print nothing'
complete -c piku-chroot -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-chroot -s V -l version -d 'Print version'
