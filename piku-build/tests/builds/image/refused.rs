//! Releases and bases of which no image is made.

use std::fs;
use std::os::unix::fs::symlink;

use piku_tests::snapshot::str;

use super::site;
use crate::support::{Ran, World};

fn pack(world: &World, more: &[&str]) -> Ran {
    let ran = world.run(&[&["pack", "--layers", "cache/layers", "out/1"], more].concat());
    assert_eq!(ran.stdout, "");
    ran
}

#[test]
fn trees_that_would_change_the_base_are_refused() {
    let world = site();
    world.build("1").good(&[]);
    let app = world.path("out/1/app");
    fs::write(app.join(".wh..wh..opq"), "").expect("a file");
    pack(&world, &["--format", "oci", "--base", "base"]).fails(str![[r#"
piku-build: cannot pack '[..]out/1/app/.wh..wh..opq': '.wh..wh..opq' cannot be in an image: such a name removes a file there
hint: give the file another name

"#]]);
    fs::remove_file(app.join(".wh..wh..opq")).expect("a file");
    symlink("../../../etc/shadow", app.join("link")).expect("a link");
    pack(&world, &["--format", "oci", "--base", "base"]).fails(str![[r#"
piku-build: 'app/link' is a link out of the release, to '../../../etc/shadow'
hint: a release that is packed has links within it and to the system's own programs only: put a copy there

"#]]);
    // What is no file of the release is not followed, and named.
    fs::remove_file(app.join("link")).expect("a link");
    nix::unistd::mkfifo(&app.join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let ran = world.run(&["pack", "out/1", "--format", "oci", "--base", "base"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran.said(&["pipe' is left out: it is a named pipe"]);
}

#[test]
fn bases_that_are_none_are_refused() {
    let world = site();
    world.build("1").good(&[]);
    fs::write(
        world.path("text"),
        "no archive, but a file that is longer than the header of one\n".repeat(20),
    )
    .expect("a file");
    pack(&world, &["--format", "oci", "--base", "text"]).fails(str![[r#"
piku-build: 'text' is no base for an image: it is no complete tar archive
hint: a base is a directory with a system, a tar archive of one, or an image of 'docker save' or 'skopeo copy'

"#]]);
    fs::write(world.path("packed.tar.gz"), b"\x1f\x8b\x08\x00").expect("a file");
    pack(&world, &["--format", "oci", "--base", "packed.tar.gz"]).fails(str![[r#"
piku-build: cannot read 'packed.tar.gz': it is compressed by gzip
hint: gunzip FILE, or zstd, which piku reads

"#]]);
    fs::create_dir(world.path("empty")).expect("a folder");
    pack(&world, &["--format", "oci", "--base", "empty"]).fails(str![[r#"
piku-build: 'empty' is no base for an image: it has no programs
hint: a base is a directory with a system, a tar archive of one, or an image of 'docker save' or 'skopeo copy'

"#]]);
    pack(&world, &["--format", "oci", "--base", "nowhere"]).fails(str![[r#"
piku-build: cannot read 'nowhere': No such file or directory (os error 2)

"#]]);
    // Without Debian's tools there is no base; the jail's programs are those of the machine.
    let mut command = world.command(&["pack", "out/1", "--format", "oci", "--bases", "bases"]);
    fs::create_dir(world.path("tools")).expect("a folder");
    let ran = Ran::of(command.env("PATH", world.path("tools")).output().expect("piku-build runs"));
    ran.said(&["a base is made of Debian's packages, and this machine has no '"]);
    assert!(!world.path("bases").exists());
}

#[test]
fn options_of_the_other_form_are_wrong_usage() {
    let world = site();
    world.build("1").good(&[]);
    for (args, said) in [
        (&["--tag", "blog:1"][..], "the options for images need --format oci"),
        (&["--format", "oci", "--part", "head"], "--part is for --format piku"),
        (&["out/1"], "several releases can be in one image only"),
        (&["--format", "oci", "--tag", "Blog"], "expected the name of an image"),
        (&["--format", "oci", "--package=-x"], "expected a package's name"),
        (&["--format", "oci", "--base", "base", "--new-base"], "cannot be used with"),
    ] {
        let ran = pack(&world, args);
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.stderr);
        ran.said(&[said]);
    }
}
