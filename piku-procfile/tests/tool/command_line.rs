//! Wrong command lines: one clear message each, and exit code 2.

use piku_tests::snapshot::{assert_snapshot, str};

use crate::support::Tool;

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let wrong = [&["chekc"][..], &["show"], &["list", "--format", "xml"], &["check", "a", "b"], &[]];
    assert_snapshot(
        &wrong.map(|args| Tool::new(args).transcript()).concat(),
        str![[r#"
$ piku-procfile chekc
exit status: 2
--- stderr
error: unrecognized subcommand 'chekc'

Usage: piku-procfile <COMMAND>

For more information, try '--help'.

$ piku-procfile show
exit status: 2
--- stderr
error: the following required arguments were not provided:
  <NAME>

Usage: piku-procfile show <NAME> [FILE]

For more information, try '--help'.

$ piku-procfile list --format xml
exit status: 2
--- stderr
error: invalid value 'xml' for '--format <FORMAT>'
  [possible values: text, json, yaml]

For more information, try '--help'.

$ piku-procfile check a b
exit status: 2
--- stderr
error: unexpected argument 'b' found

Usage: piku-procfile check [OPTIONS] [FILE]

For more information, try '--help'.

$ piku-procfile 
exit status: 2
--- stderr
Check, print and convert the Procfile and the ENV file of an app

Usage: piku-procfile <COMMAND>

Commands:
  check   Check a Procfile; a good one prints nothing
  list    List the process types of a Procfile
  show    Print the command of a process type
  env     Print the variables of an ENV file
  render  Convert a Procfile and an ENV file to the configuration of nginx, systemd, cron or a container engine
  help    Print this message or the help of the given subcommand(s)

Options:
  -h, --help     Print help (see more with '--help')
  -V, --version  Print version


"#]],
    );
    for args in [&["--help"][..], &["--version"], &["env", "--help"]] {
        let (stdout, stderr, code) = Tool::new(args).run();
        assert_eq!((stderr.as_str(), code), ("", 0), "{args:?}");
        assert!(!stdout.is_empty());
    }
}

#[test]
fn a_wrong_command_line_of_render_is_exit_code_2() {
    let wrong = [
        &["render"][..],
        &["render", "apache"],
        &["render", "nginx", "--listen", "x"],
        &["render", "nginx", "--upstream", "unix:/x"],
        &["render", "nginx", "--app", "../x"],
        &["render", "nginx", "--key", "x"],
        &["render", "nginx", "--main", "/x", "--app", "blog"],
        &["render", "systemd", "-m", "web"],
        &["render", "systemd", "--port", "0"],
    ];
    assert_snapshot(
        &wrong.map(|args| Tool::new(args).transcript()).concat(),
        str![[r#"
$ piku-procfile render
exit status: 2
--- stderr
Convert a Procfile and an ENV file to the configuration of nginx, systemd, cron or a container engine

Usage: piku-procfile render <COMMAND>

Commands:
  nginx       Print the nginx server block of an app, or the nginx.conf of an instance that runs without root
  systemd     Print the systemd units of an app's processes and cron jobs
  crontab     Print an app's cron jobs as a crontab for cron(8)
  kubernetes  Print the objects of Kubernetes that run an app's image
  compose     Print a file of Docker Compose that runs an app's image
  quadlet     Print units of Quadlet, by which systemd runs an app's image with podman
  help        Print this message or the help of the given subcommand(s)

Options:
  -h, --help  Print help (see more with '--help')

$ piku-procfile render apache
exit status: 2
--- stderr
error: unrecognized subcommand 'apache'

Usage: piku-procfile render <COMMAND>

For more information, try '--help'.

$ piku-procfile render nginx --listen x
exit status: 2
--- stderr
error: invalid value 'x' for '--listen <[ADDRESS:]PORT>': 'x' is not PORT, ADDRESS:PORT or [ADDRESS]:PORT

For more information, try '--help'.

$ piku-procfile render nginx --upstream unix:/x
exit status: 2
--- stderr
error: invalid value 'unix:/x' for '--upstream <HOST:PORT>': 'unix:/x' is not HOST:PORT

For more information, try '--help'.

$ piku-procfile render nginx --app ../x
exit status: 2
--- stderr
error: invalid value '../x' for '--app <NAME>': bad app name "../x": use 1 to 63 of a-z, 0-9 and '-', with no '-' at either end

For more information, try '--help'.

$ piku-procfile render nginx --key x
exit status: 2
--- stderr
error: the following required arguments were not provided:
  --certificate <FILE>

Usage: piku-procfile render nginx --key <FILE> --certificate <FILE>

For more information, try '--help'.

$ piku-procfile render nginx --main /x --app blog
exit status: 2
--- stderr
error: the argument '--main <DIR>' cannot be used with '--app <NAME>'

Usage: piku-procfile render nginx --main <DIR>

For more information, try '--help'.

$ piku-procfile render systemd -m web
exit status: 2
--- stderr
error: invalid value 'web' for '--formation <TYPE=N,…>': expected TYPE=N

For more information, try '--help'.

$ piku-procfile render systemd --port 0
exit status: 2
--- stderr
error: invalid value '0' for '--port <PORT>': expected a port from 1 to 65535

For more information, try '--help'.


"#]],
    );
}
