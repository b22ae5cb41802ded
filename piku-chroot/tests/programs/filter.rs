//! Checks that the other tests run with the filter of system calls.

use crate::machine::skipped;
use crate::scene::{Scene, run, users};
use crate::work::{scene, works};

#[test]
fn the_filter_is_on() {
    for user in users() {
        let layers = run(Scene::new(user).jail(&["--check"])).out;
        if !layers.lines().any(|line| line.starts_with("seccomp ") && line.ends_with(" yes")) {
            skipped("programs with the filter on", "this kernel has none");
            continue;
        }
        let made = scene(user, &[]);
        let status = works(&made, &made, &[], "grep -o 'Seccomp:.*' /proc/self/status");
        assert_eq!(status, "Seccomp:\t2\n");
    }
}
