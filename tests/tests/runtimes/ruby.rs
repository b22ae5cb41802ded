//! Ruby apps with the real Bundler: gems that the app brings along, and gems from a server on loopback.

use piku_tests::gems;
use piku_tests::index::Index;
use piku_tests::world::World;

const PAGE: &str = "require 'words'
run ->(_) { [200, { 'content-type' => 'text/plain' }, [\"one, words #{Words.version}, #{ENV['RACK_ENV']}\\n\"]] }
";

/// A Gemfile with all that serves a page, and one gem in a group that no server wants.
fn gemfile(source: &str) -> String {
    let gems: Vec<_> =
        gems::rack_gem_names().into_iter().chain(["words"]).map(|name| format!("gem '{name}'\n")).collect();
    format!("source '{source}'\n{}group(:development) {{ gem 'absent' }}\n", gems.concat())
}

#[test]
fn rack_app_with_vendored_gems_is_served() {
    let world = World::new();
    let repo = world.repo("site");
    let cache = repo.path().join("vendor/cache");
    gems::pack_gems(&cache, &gems::rack_gem_names());
    for name in ["words", "absent"] {
        gems::make_gem(&cache, name, "1.0.0");
    }
    // Nobody listens there, and nobody is asked.
    repo.file("Gemfile", gemfile("http://127.0.0.1:1")).file("config.ru", PAGE);
    gems::lock(repo.path());
    // Both are of other machines: the Bundler that has made the lock, the place of its author's gems.
    let text = std::fs::read_to_string(repo.path().join("Gemfile.lock")).expect("a lock");
    let (text, _) = text.split_once("BUNDLED WITH").expect("the lock says which Bundler has made it");
    repo.file("Gemfile.lock", format!("{text}BUNDLED WITH\n   2.99.1\n"))
        .file(".bundle/config", "---\nBUNDLE_PATH: \"vendor/bundle\"\nBUNDLE_FROZEN: \"false\"\n")
        .commit("One");
    let said = repo.push().succeeds();
    for text in [
        "-----> Ruby app detected: there is a Gemfile",
        "-----> Installing dependencies: layer gems ",
        "Installing words 1.0.0 with native extensions",
        "-----> Process types: web (by default, from config.ru)",
    ] {
        assert!(said.contains(text), "{text}: {said}");
    }
    assert!(!said.contains("absent"), "{said}");
    assert_eq!(world.page("site"), "one, words 1.0.0, production\n");

    let said = repo.file("config.ru", PAGE.replace("one", "two")).commit("Two").push().succeeds();
    assert!(said.contains("-----> Dependencies are unchanged: layer gems "), "{said}");
    assert_eq!(world.page("site"), "two, words 1.0.0, production\n");

    // What is not locked is not installed, and the old release serves on.
    repo.file("Gemfile", gemfile("http://127.0.0.1:1") + "gem 'rake'\n").commit("Three");
    repo.push().fails_with(&[
        "Gemfile.lock is out of step with Gemfile",
        "* rake",
        "hint: run 'bundle lock'",
    ]);
    repo.file("Gemfile", gemfile("http://127.0.0.1:1") + "ruby '~> 9.1'\n").commit("Four");
    repo.push()
        .fails_with(&["Gemfile allows only Ruby ~> 9.1; this machine has ", "hint: if the app runs on it"]);
    assert_eq!(world.page("site"), "two, words 1.0.0, production\n");
}

#[test]
fn rebuild_updates_unlocked_gems() {
    let place = tempfile::tempdir().expect("a folder");
    let index = Index::start(place.path());
    index.publish_gems(&gems::rack_gem_names());
    for name in ["words", "absent"] {
        index.publish_gem(name, "1.0.0");
    }
    let world = World::new();
    let repo = world.repo("site");
    repo.file("Gemfile", gemfile(&index.gems_url())).file("config.ru", PAGE).commit("One");
    let said = repo.push().succeeds();
    assert!(said.contains("warning: there is no Gemfile.lock"), "{said}");
    assert_eq!(world.page("site"), "one, words 1.0.0, production\n");
    let locked = world.app("site").join("current/app/Gemfile.lock");
    assert!(std::fs::read_to_string(locked).expect("the lock of this release").contains("words (1.0.0)"));

    let rebuild = || {
        let out = world.tool("piku-build").args(["rebuild", "site"]).output().expect("piku-build runs");
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    assert_eq!(rebuild(), (Some(0), String::new()));
    index.publish_gem("words", "1.0.1");
    let (code, said) = rebuild();
    assert_eq!(code, Some(0));
    assert!(said.contains("words 1.0.0 → 1.0.1"), "{said}");
    assert_eq!(world.page("site"), "one, words 1.0.1, production\n");

    drop(index);
    repo.file("Gemfile", gemfile("http://127.0.0.1:1")).file("ENV", "BUNDLE_RETRY=0\n").commit("Two");
    repo.push().fails_with(&[
        "Bundler cannot reach the gem server: ",
        "hint: or bring the gems along, and no server is asked: 'bundle cache --all-platforms'",
    ]);
    assert_eq!(world.page("site"), "one, words 1.0.1, production\n");
}
