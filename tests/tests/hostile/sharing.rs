//! The files that a release shares with the one before it, which is as hostile as the new one.

use std::fs;

use crate::victim::VictimWorld;

/// Links in the places of folders, on several ways to another app's data.
const LINKS: &str = "web: ./serve\npreflight: ln -s @ROOT@/apps/victim/data d; ln -s @ROOT@/apps hop; \
                     ln -s hop/victim/data e; mkdir f; ln -s ../hop/victim/data f/g; ln -s d __pycache__\n";

#[test]
fn hard_links_do_not_follow_symlinks() {
    let story = "dear diary\n";
    let host = VictimWorld::new(&[], &[("story", story.as_bytes())]);
    let repo = host.attacker("evil");
    repo.file("Procfile", host.aimed(LINKS)).commit("Links").push().succeeds();
    // The same content, where the links were.
    repo.file("Procfile", "web: ./serve\n");
    for folder in ["d", "e", "f/g", "hop/victim/data"] {
        repo.file(&format!("{folder}/story"), story);
    }
    let said = repo.commit("Folders").push().succeeds();
    host.assert_untouched(&said);
    let own = host.world.app("evil").join("current/app/d/story");
    assert_eq!(fs::read_to_string(own).expect("its own"), story);
}
