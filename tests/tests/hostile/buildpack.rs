//! The files that a buildpack leaves in the app's tree for piku to read.

use piku_tests::processes;

use crate::victim::VictimWorld;

#[test]
fn buildpack_files_are_read_inside_tree() {
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
    // What goes on swapping it after its step has ended: all of it was ended with the step.
    let swaps = "#!/bin/sh\ncd \"$1\"; rm -f Procfile; setsid sh -c 'while :; do ln -s @HOME@/key l; mv -T l Procfile; \
                 echo \"web: ./serve\" >p; mv -T p Procfile; done' swaps >/dev/null 2>&1 & sleep 0.2\n";
    let said = repo.program("bp/bin/release", host.aimed(swaps)).commit("Swaps").start_push();
    let said = said.wait_with_output().expect("git push");
    host.assert_untouched(&format!(
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    ));
    assert!(processes::find(&host.world.root(), "swaps").is_empty());
    // A Procfile that a pack has written is one all the same.
    repo.program("bp/bin/release", "#!/bin/sh\nln -s good \"$1/Procfile\"\n")
        .commit("Good")
        .push()
        .succeeds();
    assert_eq!(host.world.page("evil"), "attacker\n");
}
