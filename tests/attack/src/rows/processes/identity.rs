//! The groups of the caller.

use std::fs;

use crate::facts::Facts;
use crate::row::{Row, not_told};
use crate::verdict::{Verdict, Ways};

pub(crate) const ROWS: [Row; 1] = [Row {
    name: "groups",
    attempt: "read a file (root:secret 0640) by a supplementary group of the caller",
    expected: "refused on level 2; level 1 does not let such a path in without a warning",
    run: groups,
}];

fn groups(facts: &Facts) -> Verdict {
    let mut ways = Ways::default();
    // One that is not there at all would be no try; it can be seen by everybody.
    for path in facts.all("groupfile").filter(|path| fs::metadata(path).is_ok()) {
        ways.io(path, fs::read(path));
    }
    if facts.get("groupfile").is_none() { not_told("groupfile") } else { ways.verdict() }
}
