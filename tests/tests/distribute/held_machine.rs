//! A machine on which a verb waits, so that what has sent it can be killed meanwhile.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use piku_tests::world::World;

/// Has the script of the verbs wait before it executes this one on a machine, as long as the file `held` is there.
pub(crate) fn hold(world: &World, verb: &str) {
    let script = world.path("lib/piku");
    let text = fs::read_to_string(&script).expect("the script");
    fs::write(world.path("home/script"), &text).expect("a copy");
    fs::write(world.path("home/held"), "").expect("a file");
    let (first, rest) = text.split_once('\n').expect("lines");
    let (held, reached) = (world.path("home/held"), world.path("home/reached"));
    let waits = format!(
        "[ \"$1\" != {verb} ] || {{ : >'{}'; while [ -e '{}' ]; do sleep 0.05; done; }}",
        reached.display(),
        held.display()
    );
    replace_script(&script, &format!("{first}\n{waits}\n{rest}"));
}

/// Replaces the script, which a shell may be reading.
fn replace_script(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("the script");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("a mode");
    fs::rename(&new, path).expect("the script");
}

/// Lets it go on, and those that come after it.
pub(crate) fn release(world: &World) {
    replace_script(&world.path("lib/piku"), &fs::read_to_string(world.path("home/script")).expect("a copy"));
    fs::remove_file(world.path("home/held")).expect("the file");
    fs::remove_file(world.path("home/reached")).expect("the file");
}
