//! Locks that another process holds.

use std::path::Path;
use std::process::Stdio;

use super::{World, wait_for};

impl World {
    /// Runs `change` while another process holds the lock file, which is created if necessary.
    ///
    /// # Panics
    /// If `flock` cannot be run.
    pub fn while_locked<T>(&self, lock: &Path, change: impl FnOnce() -> T) -> T {
        let mut holder = self.command("flock");
        let mut holder = holder.arg(lock).arg("cat").stdin(Stdio::piped()).spawn().expect("flock runs");
        // It ends with its stdin, also if `change` panics.
        let stdin = holder.stdin.take();
        wait_for("the lock", || {
            let free = self.command("flock").args(["-n", "-E", "9"]).arg(lock).arg("true").status();
            free.expect("flock").code() == Some(9)
        });
        let done = change();
        drop(stdin);
        holder.wait().expect("flock ends");
        done
    }
}
