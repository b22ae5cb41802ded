//! Programs and libraries of the machine that no package has.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use piku_tests::skip;
use piku_tests::snapshot::str;

use super::site;
use crate::support::Ran;

/// Gives the machine programs and libraries of its own, and runs the arguments.
const LOCAL: &str = r#"
mount -t tmpfs tmpfs /usr/local
mkdir -p /usr/local/bin /usr/local/lib
for name in own-tool own-php own-other; do cp /bin/true /usr/local/bin/$name; done
ln -s /usr/bin/perl /usr/local/bin/own-perl
: >/usr/local/lib/libq.so.6
: >/usr/local/lib/libr.so.6
exec "$@"
"#;

#[test]
fn what_no_package_has_is_refused_by_name() {
    if !nix::unistd::geteuid().is_root() || !Path::new("/usr/bin/dpkg-query").exists() {
        return skip("files of no package: they need root and dpkg");
    }
    let mut world = site();
    world.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    world.build("1").good(&[]);
    let app = world.path("out/1/app");
    let manifest = world.path("out/1/release.yaml");
    let text = fs::read_to_string(&manifest).expect("a release");
    let architecture = piku_release::machine::architecture().expect("an architecture");
    let text = text
        .replace("sh run.sh tick", "own-perl x")
        .replace("sh run.sh", "command -v own-other; cd bin && A=$B own-tool x | ./own; $C");
    let text = text.replace("architecture: any\n", &format!("architecture: {architecture}\n"));
    fs::write(&manifest, text).expect("a file");
    fs::create_dir(app.join("bin")).expect("a folder");
    fs::write(app.join("bin/own"), "#!/usr/bin/env own-php\n").expect("a file");
    fs::set_permissions(app.join("bin/own"), fs::Permissions::from_mode(0o755)).expect("a mode");
    // A program that needs a library with another name.
    let mut shell = fs::read("/bin/sh").expect("a shell");
    let name = shell.windows(10).position(|part| part == b"libc.so.6\0").expect("the C library");
    shell[name + 3] = b'q';
    fs::write(app.join("bin/native"), &shell).expect("a file");
    // A library that needs another one may be of a part that the app does not use.
    shell[name + 3] = b'r';
    fs::write(app.join("bin/part.so"), shell).expect("a file");

    let command = world.command(&["pack", "out/1", "--format", "oci", "--bases", "bases"]);
    let mut local = Command::new("unshare");
    local.args(["--mount", "sh", "-euc", LOCAL, "sh"]).arg(command.get_program()).args(command.get_args());
    local.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    local.current_dir(command.get_current_dir().expect("a folder"));
    Ran::of(local.output().expect("unshare runs")).fails(str![[r#"
 !     warning: worker starts a program that a variable names; if the image lacks it, add its package with --package: command -v own-other; cd bin && A=$B own-tool x | ./own; $C
 !     warning: the image lacks what belongs to no package of this machine: library '/usr/local/lib/libr.so.6' of '/app/bin/part.so'
piku-build: the image would lack what belongs to no package of this machine: program '/usr/local/bin/own-perl' of cron-tick, program '/usr/local/bin/own-php' of worker, program '/usr/local/bin/own-tool' of worker, library '/usr/local/lib/libq.so.6' of '/app/bin/native'
hint: use Debian's packages of them, or give a base that has them: --base DIR, or --base TAR

"#]]);
    assert!(!world.path("bases").exists());
}
