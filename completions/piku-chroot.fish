complete -c piku-chroot -l root -d 'Show the programs and libraries of the tree in DIR instead of the host\'s' -r -F
complete -c piku-chroot -l bind -d 'Mount SRC at DST, writable; write a colon in a path as `\\:`, a backslash as `\\\\`' -r
complete -c piku-chroot -l ro -d 'Mount SRC at DST, read-only' -r
complete -c piku-chroot -l grant -d 'Mount SRC of the host at DST, writable, as an operator grants it: a socket, a file or a directory; no part of SRC may be a symlink' -r
complete -c piku-chroot -l grant-ro -d 'The same, read-only' -r
complete -c piku-chroot -l grant-device -d 'The same for a device, or a directory of devices, which work in the jail' -r
complete -c piku-chroot -l group -d 'Put COMMAND into the group GID of the host; needs --uid-range, and a line for GID in /etc/subgid' -r
complete -c piku-chroot -l tmpfs -d 'Mount an empty writable tmpfs for at most 65536 files at DST; SIZE in bytes, with k, m or g, or in percent of the memory' -r
complete -c piku-chroot -l tmp-size -d 'Size of /tmp, unless another option mounts something there [default: 64m]' -r
complete -c piku-chroot -l app -d 'Mount DIR read-only at /app, which becomes HOME and the working directory' -r -F
complete -c piku-chroot -l data -d 'Mount DIR writable at /data' -r -F
complete -c piku-chroot -l scratch -d 'Make /app writable: keep what COMMAND changes there in DIR, which must not be in a tree that an app can write, and remove it when COMMAND has ended' -r -F
complete -c piku-chroot -l keep -d 'Keep PATH of /app in the directory of --data, as /data/app/PATH; may be given several times' -r
complete -c piku-chroot -l tell-discarded -d 'Print at the end which files of COMMAND in /app are removed with --scratch, except caches and the like, and that SETTING keeps them' -r
complete -c piku-chroot -l net -d 'Network of the jail [default: shared]' -r -f -a "shared\t'The host\'s network'
own\t'A network of the jail\'s own: pasta(1) connects it to everything but the host\'s loopback, and lets in the ports of --listen'
loopback\t'A loopback device alone'
none\t'No device'"
complete -c piku-chroot -l listen -d 'Let COMMAND bind TCP sockets only to PORT and to ports that the kernel picks; may be given several times' -r
complete -c piku-chroot -l connect -d 'With --net own: lead connections of COMMAND to 127.0.0.1:PORT to the same address of the host; may be given several times' -r
complete -c piku-chroot -l env -d 'Set a variable for COMMAND' -r
complete -c piku-chroot -l keep-env -d 'Pass on a variable of the caller if it is set' -r
complete -c piku-chroot -l env-prefix -d 'Pass on all variables of the caller that begin with PREFIX, without the prefix' -r
complete -c piku-chroot -l hostname -d 'Host name in the jail [default: jail]' -r
complete -c piku-chroot -l chdir -d 'Working directory in the jail [default: /app with --app, else /]' -r -F
complete -c piku-chroot -l user -d 'Become this user first; only root can' -r
complete -c piku-chroot -l uid-range -d 'Run COMMAND as its own user: NAME keeps one of the caller\'s subordinate uids and gids' -r
complete -c piku-chroot -l uid-registry -d 'File that records the uid and gid of each NAME [default: ~/.local/state/piku-chroot/uid-ranges]' -r -F
complete -c piku-chroot -l prepared -d 'Take a copy of what --prepare has made and sent as the open descriptor FD instead of making it, which saves time' -r
complete -c piku-chroot -l die-with -d 'Kill COMMAND when the caller, the process PID, ends; otherwise COMMAND keeps running' -r
complete -c piku-chroot -l profile -d 'Set the options of a built-in profile; other options override them' -r -f -a "build\t'A build step. piku adds the app at /app, a directory for HOME and temporary files, caches and layers'
run\t'A process of an app: a worker, a release task, a cron job or an operator\'s command. piku adds the app, its data, its layers, its environment and its host name'"
complete -c piku-chroot -l limit -d 'Limit memory=SIZE (with k, m or g, or in percent), pids=N and cpu=N.N (processors) of the whole jail, and nofile=N (open files) of each process. A cgroup enforces them if one is delegated, else rlimits do' -r
complete -c piku-chroot -l oom-score-adj -d 'Let the kernel kill COMMAND before other processes of its size when the machine runs out of memory: from 0, no sooner, to 1000' -r
complete -c piku-chroot -l report -d 'Write to FILE which layers hold once COMMAND runs and how it ended, each as a JSON object on a line' -r -F
complete -c piku-chroot -l require -d 'Refuse to start if this protection is missing: namespaces, seccomp, landlock, abstract-sockets or listen-ports' -r
complete -c piku-chroot -l format -d 'Output format of --check' -r -f -a "text\t'A table'
json\t'A JSON array'"
complete -c piku-chroot -l root-from-host -d 'Show the host\'s programs and libraries (/usr and the like) read-only, and the files of /etc that programs need'
complete -c piku-chroot -l keep-only -d 'Leave /app read-only, except the paths of --keep'
complete -c piku-chroot -l remove-in-background -d 'Exit before the folder of --scratch is removed, which another process does'
complete -c piku-chroot -l give-back -d 'Make the caller the owner of DIR of --data again, and of everything of NAME\'s in it, then run COMMAND as the caller'
complete -c piku-chroot -l prepare -d 'Make what jails with the same options have in common, their user namespace and a root with the programs, /etc and /dev, send its descriptor on the Unix socket that is stdin, and end'
complete -c piku-chroot -l gate -d 'Wait for a byte on stdin before anything is made, and make nothing if stdin ends first; stdin of COMMAND is /dev/null'
complete -c piku-chroot -l tty -d 'Give COMMAND its own terminal, connected to stdin and stdout; input counts as typed'
complete -c piku-chroot -l strict -d 'Refuse to start if any layer is missing, even one that is not required'
complete -c piku-chroot -l check -d 'Print which layers hold on this machine, and for a missing one the cause and the fix; exit code 1 if a required one is missing'
complete -c piku-chroot -l quiet -d 'With --check: print nothing'
complete -c piku-chroot -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-chroot -s V -l version -d 'Print version'
