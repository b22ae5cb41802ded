//! Variables of the caller.

use std::env;
use std::fs;

use crate::facts::Facts;
use crate::row::{Row, not_told};
use crate::verdict::{Verdict, Ways};

pub(crate) const ROWS: [Row; 1] = [Row {
    name: "environment",
    attempt: "find SSH_CLIENT, GIT_DIR, LD_PRELOAD or a secret of the caller in the environment",
    expected: "only what was declared",
    run: environment,
}];

/// Variables that every jail sets itself.
const OWN: [&str; 3] = ["PATH", "HOME", "PWD"];

fn environment(facts: &Facts) -> Verdict {
    let Some(text) = facts.get("text") else { return not_told("text") };
    let mut ways = Ways::default();
    for (name, value) in env::vars_os() {
        let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
        let declared = OWN.contains(&name.as_ref()) || facts.all("env").any(|env| env == name);
        ways.must_be(declared && !value.contains(text), &name, "declared");
    }
    let environ = fs::read("/proc/self/environ").unwrap_or_default();
    let found = environ.windows(text.len()).any(|window| window == text.as_bytes());
    ways.must_be(!found, "/proc/self/environ", "not in /proc/self/environ");
    ways.verdict()
}
