//! What a buildpack leaves in the app's tree for piku to read.

use crate::victim::VictimWorld;

#[test]
fn what_a_buildpack_leaves_is_read_inside_the_tree_alone() {
    let host = VictimWorld::new(&[], &[]);
    let repo = host.attacker("evil");
    repo.without("Procfile").file(".buildpacks", "./bp\n").file("good", "web: ./serve\n");
    repo.program("bp/bin/detect", "#!/bin/sh\necho Evil\n").program("bp/bin/compile", "#!/bin/sh\n");
    let outside = "leads out of the app";
    for (name, script, why) in [
        // The manifest of another app's release, quoted as a bad Procfile.
        ("Procfile", "ln -s @ROOT@/apps/victim/current/release.yaml Procfile", outside),
        // A private key, quoted as bad YAML; over a link that was there already.
        (".piku-release-0", "ln -s @HOME@ hop; ln -s hop/key .piku-release-0", outside),
        (".piku-release-0", "mkfifo .piku-release-0", "is not a file"),
        ("Procfile", "ln -s /dev/zero Procfile", outside),
        ("Procfile", "truncate -s 10G Procfile", "more than"),
    ] {
        let script = format!("#!/bin/sh\ncd \"$1\"; rm -f {name}; {}\n", host.aimed(script));
        let said = repo.program("bp/bin/release", script).commit("Attack").push();
        host.assert_untouched(&said.fails_with(&[&format!("'{name}'"), why]));
    }
    // A Procfile that a pack has written is one all the same.
    repo.program("bp/bin/release", "#!/bin/sh\nln -s good \"$1/Procfile\"\n")
        .commit("Good")
        .push()
        .succeeds();
    assert_eq!(host.world.page("evil"), "attacker\n");
}
