# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_piku_build_global_optspecs
    string join \n h/help V/version
end

function __fish_piku_build_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_piku_build_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_piku_build_using_subcommand
    set -l cmd (__fish_piku_build_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c piku-build -n "__fish_piku_build_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-build -n "__fish_piku_build_needs_command" -s V -l version -d 'Print version'
complete -c piku-build -n "__fish_piku_build_needs_command" -f -a "detect" -d 'Say which runtime an app is of, why, and why the others lost'
complete -c piku-build -n "__fish_piku_build_needs_command" -f -a "plan" -d 'Say what a build would do: versions, layers, steps, process types; run nothing'
complete -c piku-build -n "__fish_piku_build_needs_command" -f -a "build" -d 'Build a release: OUTPUT/release.yaml and the tree in OUTPUT/app'
complete -c piku-build -n "__fish_piku_build_needs_command" -f -a "rebuild" -d 'Build what apps have deployed again, and deploy it where something outside it has changed'
complete -c piku-build -n "__fish_piku_build_needs_command" -f -a "pack" -d 'Write a release with its layers to stdout as one stream, for another machine; or as a container image'
complete -c piku-build -n "__fish_piku_build_needs_command" -f -a "unpack" -d 'Read a packed release from stdin: its layers into LAYERS, the release to OUTPUT, whole, or not at all'
complete -c piku-build -n "__fish_piku_build_needs_command" -f -a "machine" -d 'Print what this machine is, for those who build for it: architecture, C library, Pythons'
complete -c piku-build -n "__fish_piku_build_needs_command" -f -a "fits" -d 'Say whether a release would run here, its head on stdin (\'pack --part head\'), and print the layers that are not here'
complete -c piku-build -n "__fish_piku_build_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c piku-build -n "__fish_piku_build_using_subcommand detect" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-build -n "__fish_piku_build_using_subcommand detect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-build -n "__fish_piku_build_using_subcommand plan" -l cache -d 'Where package managers keep their caches' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand plan" -l architecture -d 'The architecture of the machine that will run it, by uname\'s or Debian\'s name: amd64, arm64, armhf, armv6l [default: this machine\'s]' -r
complete -c piku-build -n "__fish_piku_build_using_subcommand plan" -l machines -d 'The machines that will run it, as \'piku-receive targets\' has asked them: what they lack is refused before anything is built' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand plan" -l layers -d 'Where dependency layers are kept; for a build CACHE/layers by default' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand plan" -l tools -d 'Where the tools are kept that build layers of all apps: uv, Node, Go\'s standard library; for a build CACHE/tools by default, which are the app\'s own' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand plan" -l settings -d 'This machine\'s settings' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand plan" -l config -d 'File with the settings that `config set` stored for the app' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand plan" -l buildpacks -d 'The operator\'s buildpacks, a folder each [default: the folder buildpacks beside the settings]' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand plan" -l sandbox -d 'Use of the jail for build steps [default: from the settings]' -r -f -a "require\t'Refuse to build without it'
prefer\t'Use it where it works, say where it does not'
off\t'Never'"
complete -c piku-build -n "__fish_piku_build_using_subcommand plan" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-build -n "__fish_piku_build_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -l recycle -d 'The folder of the app\'s old releases: the tree of one that waits for its removal becomes that of this one, with what differs changed, where all of its files are such links' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -l cache -d 'Where package managers keep their caches' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -l before -d 'The folder of the release before this one: files that are the same are shared with it' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -l output -d 'The release\'s folder, which must not be there yet' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -l architecture -d 'The architecture of the machine that will run it, by uname\'s or Debian\'s name: amd64, arm64, armhf, armv6l [default: this machine\'s]' -r
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -l machines -d 'The machines that will run it, as \'piku-receive targets\' has asked them: what they lack is refused before anything is built' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -l layers -d 'Where dependency layers are kept; for a build CACHE/layers by default' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -l tools -d 'Where the tools are kept that build layers of all apps: uv, Node, Go\'s standard library; for a build CACHE/tools by default, which are the app\'s own' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -l settings -d 'This machine\'s settings' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -l config -d 'File with the settings that `config set` stored for the app' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -l buildpacks -d 'The operator\'s buildpacks, a folder each [default: the folder buildpacks beside the settings]' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -l sandbox -d 'Use of the jail for build steps [default: from the settings]' -r -f -a "require\t'Refuse to build without it'
prefer\t'Use it where it works, say where it does not'
off\t'Never'"
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -l app -d 'Name of the app [default: name of the directory]' -r
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -l number -d 'The release\'s number' -r
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -l commit -d 'The commit it is built from' -r
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -l subject -d 'The first line of the commit\'s message' -r
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -l by -d 'Name of the pusher\'s key' -r
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -l move -d 'Take the folder itself instead of a copy: it is used up, whether the build succeeds or not'
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -l link -d 'The folder is one that \'piku-receive export --update\' keeps, and whose files no program writes to: the release shares them by hard links, where no step of the build could write to them'
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -l no-cache -d 'Begin with empty caches and build every layer anew'
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -l rebuild -d 'Build every layer anew that no lock determines; when all comes to what the release before is, there is no OUTPUT'
complete -c piku-build -n "__fish_piku_build_using_subcommand build" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-build -n "__fish_piku_build_using_subcommand rebuild" -l jitter -d 'Wait up to so many seconds first, so that many machines do not all ask at once' -r
complete -c piku-build -n "__fish_piku_build_using_subcommand rebuild" -l wait -d 'Seconds to wait for another change of an app' -r
complete -c piku-build -n "__fish_piku_build_using_subcommand rebuild" -l root -d 'The folder with everything that piku keeps [default: ~/.piku]' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand rebuild" -l format -d 'Output format; the text lists only apps that changed or failed' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-build -n "__fish_piku_build_using_subcommand rebuild" -l all -d 'All apps that run'
complete -c piku-build -n "__fish_piku_build_using_subcommand rebuild" -l verify -d 'Build each of them twice from nothing and compare what comes of it; deploy nothing'
complete -c piku-build -n "__fish_piku_build_using_subcommand rebuild" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-build -n "__fish_piku_build_using_subcommand pack" -l format -d 'Form of the output' -r -f -a "piku\t'A stream for \'piku-build unpack\''
oci\t'A container image'"
complete -c piku-build -n "__fish_piku_build_using_subcommand pack" -l layers -d 'Where its layers are kept' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand pack" -l part -d 'Part to pack: \'whole\'; \'head\', its kind and requirements as JSON; \'release\', without its layers; or the key of a layer' -r
complete -c piku-build -n "__fish_piku_build_using_subcommand pack" -l tag -d 'Name of the image, such as registry.example.org/blog:12 [default: APP:NUMBER]' -r
complete -c piku-build -n "__fish_piku_build_using_subcommand pack" -l base -d 'Base of the image: a directory with a system, a tar archive of one, or an image of \'skopeo copy\' or \'docker save\' [default: Debian\'s packages that the release needs, by mmdebstrap]' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand pack" -l bases -d 'Where bases of Debian are kept [default: ~/.piku/bases]' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand pack" -l settings -d 'This machine\'s settings, which limit the space for images [default: ~/.piku/host.yaml]' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand pack" -l package -d 'Package of Debian that the base has as well' -r
complete -c piku-build -n "__fish_piku_build_using_subcommand pack" -l architecture -d 'The architecture of the machine that will run it, by uname\'s or Debian\'s name: amd64, arm64, armhf, armv6l; several are one image for all of them [default: the release\'s, or this machine\'s]' -r
complete -c piku-build -n "__fish_piku_build_using_subcommand pack" -l new-base -d 'Make the base anew, with the updates since it was made'
complete -c piku-build -n "__fish_piku_build_using_subcommand pack" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-build -n "__fish_piku_build_using_subcommand unpack" -l output -d 'The release\'s folder, which must not be there yet' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand unpack" -l layers -d 'Where dependency layers are kept; for a build CACHE/layers by default' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand unpack" -l tools -d 'Where the tools are kept that build layers of all apps: uv, Node, Go\'s standard library; for a build CACHE/tools by default, which are the app\'s own' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand unpack" -l settings -d 'This machine\'s settings' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand unpack" -l config -d 'File with the settings that `config set` stored for the app' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand unpack" -l buildpacks -d 'The operator\'s buildpacks, a folder each [default: the folder buildpacks beside the settings]' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand unpack" -l sandbox -d 'Use of the jail for build steps [default: from the settings]' -r -f -a "require\t'Refuse to build without it'
prefer\t'Use it where it works, say where it does not'
off\t'Never'"
complete -c piku-build -n "__fish_piku_build_using_subcommand unpack" -l app -d 'The app that it has to be of' -r
complete -c piku-build -n "__fish_piku_build_using_subcommand unpack" -l number -d 'The number that it gets here [default: its own]' -r
complete -c piku-build -n "__fish_piku_build_using_subcommand unpack" -l via -d 'Name of the key that sent it, recorded after the name of the pusher' -r
complete -c piku-build -n "__fish_piku_build_using_subcommand unpack" -l before -d 'The release before it, whose files it shares where they are the same' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand unpack" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-build -n "__fish_piku_build_using_subcommand machine" -l settings -d 'This machine\'s settings' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand machine" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-build -n "__fish_piku_build_using_subcommand machine" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-build -n "__fish_piku_build_using_subcommand fits" -l app -d 'The app that it has to be of' -r
complete -c piku-build -n "__fish_piku_build_using_subcommand fits" -l layers -d 'Where dependency layers are kept; for a build CACHE/layers by default' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand fits" -l tools -d 'Where the tools are kept that build layers of all apps: uv, Node, Go\'s standard library; for a build CACHE/tools by default, which are the app\'s own' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand fits" -l settings -d 'This machine\'s settings' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand fits" -l config -d 'File with the settings that `config set` stored for the app' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand fits" -l buildpacks -d 'The operator\'s buildpacks, a folder each [default: the folder buildpacks beside the settings]' -r -F
complete -c piku-build -n "__fish_piku_build_using_subcommand fits" -l sandbox -d 'Use of the jail for build steps [default: from the settings]' -r -f -a "require\t'Refuse to build without it'
prefer\t'Use it where it works, say where it does not'
off\t'Never'"
complete -c piku-build -n "__fish_piku_build_using_subcommand fits" -l format -d 'Output format' -r -f -a "text\t'Plain text'
json\t'JSON'
yaml\t'YAML'"
complete -c piku-build -n "__fish_piku_build_using_subcommand fits" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c piku-build -n "__fish_piku_build_using_subcommand help; and not __fish_seen_subcommand_from detect plan build rebuild pack unpack machine fits help" -f -a "detect" -d 'Say which runtime an app is of, why, and why the others lost'
complete -c piku-build -n "__fish_piku_build_using_subcommand help; and not __fish_seen_subcommand_from detect plan build rebuild pack unpack machine fits help" -f -a "plan" -d 'Say what a build would do: versions, layers, steps, process types; run nothing'
complete -c piku-build -n "__fish_piku_build_using_subcommand help; and not __fish_seen_subcommand_from detect plan build rebuild pack unpack machine fits help" -f -a "build" -d 'Build a release: OUTPUT/release.yaml and the tree in OUTPUT/app'
complete -c piku-build -n "__fish_piku_build_using_subcommand help; and not __fish_seen_subcommand_from detect plan build rebuild pack unpack machine fits help" -f -a "rebuild" -d 'Build what apps have deployed again, and deploy it where something outside it has changed'
complete -c piku-build -n "__fish_piku_build_using_subcommand help; and not __fish_seen_subcommand_from detect plan build rebuild pack unpack machine fits help" -f -a "pack" -d 'Write a release with its layers to stdout as one stream, for another machine; or as a container image'
complete -c piku-build -n "__fish_piku_build_using_subcommand help; and not __fish_seen_subcommand_from detect plan build rebuild pack unpack machine fits help" -f -a "unpack" -d 'Read a packed release from stdin: its layers into LAYERS, the release to OUTPUT, whole, or not at all'
complete -c piku-build -n "__fish_piku_build_using_subcommand help; and not __fish_seen_subcommand_from detect plan build rebuild pack unpack machine fits help" -f -a "machine" -d 'Print what this machine is, for those who build for it: architecture, C library, Pythons'
complete -c piku-build -n "__fish_piku_build_using_subcommand help; and not __fish_seen_subcommand_from detect plan build rebuild pack unpack machine fits help" -f -a "fits" -d 'Say whether a release would run here, its head on stdin (\'pack --part head\'), and print the layers that are not here'
complete -c piku-build -n "__fish_piku_build_using_subcommand help; and not __fish_seen_subcommand_from detect plan build rebuild pack unpack machine fits help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
