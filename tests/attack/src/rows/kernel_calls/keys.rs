//! The caller's keyrings, which a namespace does not hide by itself.

use std::fs;

use crate::facts::Facts;
use crate::row::{Row, not_told};
use crate::sys::call;
use crate::verdict::{Verdict, Ways};

pub(crate) const ROWS: [Row; 1] = [Row {
    name: "keyrings",
    attempt: "read, search and link keys in the caller's session and user keyrings; /proc/keys",
    expected: "not reachable",
    run: keyrings,
}];

/// The special keyrings: thread, process, session, user, user session, group.
const RINGS: [i32; 6] = [-1, -2, -3, -4, -5, -6];
const DESCRIBE: i32 = 6;
const LINK: i32 = 8;
const SEARCH: i32 = 10;
const READ: i32 = 11;
const GET_PERSISTENT: i32 = 22;

fn keyrings(facts: &Facts) -> Verdict {
    let mut ways = Ways::default();
    let Some(name) = facts.get("keyname") else { return not_told("keyname") };
    let text = format!("{name}\0");
    let mut content = [0_u8; 256];
    for ring in RINGS {
        let found = call!(libc::SYS_keyctl, SEARCH, ring, c"user", text.as_bytes(), 0);
        ways.must_fail(&format!("search in keyring {ring}"), found);
    }
    ways.must_fail("request_key", call!(libc::SYS_request_key, c"user", text.as_bytes(), 0, 0));
    for key in facts.numbers("key") {
        let read = call!(libc::SYS_keyctl, READ, key, &mut content[..], content_size());
        ways.must_fail(&format!("read key {key}"), read);
        let described = call!(libc::SYS_keyctl, DESCRIBE, key, &mut content[..], content_size());
        ways.must_fail(&format!("describe key {key}"), described);
        ways.must_fail(&format!("link key {key}"), call!(libc::SYS_keyctl, LINK, key, -2));
    }
    // The user keyring of the namespace in which one was born would be linked so.
    let _ = call!(libc::SYS_keyctl, LINK, -4, -3);
    let _ = call!(libc::SYS_keyctl, GET_PERSISTENT, -1, -3);
    let found = call!(libc::SYS_keyctl, SEARCH, -3, c"user", text.as_bytes(), 0);
    ways.must_fail("search after links", found);
    let table = fs::read_to_string("/proc/keys").unwrap_or_default();
    ways.must_be(!table.contains(name), "/proc/keys", "not listed");
    ways.verdict()
}

/// Returns how many bytes the kernel may write into the buffer.
fn content_size() -> usize {
    256
}
