//! The process that the kernel kills first when the machine runs out of memory: a build, not an app that serves.

#![expect(clippy::disallowed_methods, reason = "tells the kernel about this process")]

use std::fs;

/// This process and what it starts from now on; a jail's profile has the same number for the steps inside of it.
const BUILD: i32 = 500;
const FILE: &str = "/proc/self/oom_score_adj";

/// Raises the score of this process, which the commands that it starts inherit. A caller's higher one stays, and where the
/// kernel refuses, the build goes on.
pub(crate) fn raise() {
    let own = fs::read_to_string(FILE).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if own.is_some_and(|own| own < BUILD) {
        let _ = fs::write(FILE, BUILD.to_string());
    }
}
