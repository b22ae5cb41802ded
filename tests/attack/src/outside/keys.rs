//! A key in the caller's session keyring and one in its user keyring.

use crate::sys::call;

const JOIN_SESSION: i32 = 1;
const UNLINK: i32 = 9;
const READ: i32 = 11;
const SESSION: i32 = -3;
const USER: i32 = -4;

pub(super) struct Keys {
    name: String,
    session: i32,
    user: i32,
}

/// Replaces the session keyring by a new one.
pub(super) fn begin_session() {
    // Without keyrings there is nothing to protect.
    let _ = call!(libc::SYS_keyctl, JOIN_SESSION, 0);
}

impl Keys {
    /// Returns `None` on a machine without keyrings.
    pub(super) fn new(name: &str, text: &str) -> Option<Self> {
        let (description, content) = (format!("{name}\0"), text.as_bytes());
        let add = |ring: i32| -> Option<i32> {
            let answer =
                call!(libc::SYS_add_key, c"user", description.as_bytes(), content, content.len(), ring);
            answer.ok()?.try_into().ok()
        };
        Some(Self { name: name.to_owned(), session: add(SESSION)?, user: add(USER)? })
    }

    pub(super) fn facts(&self) -> Vec<String> {
        let Self { name, session, user } = self;
        vec![format!("keyname={name}"), format!("key={session}"), format!("key={user}")]
    }

    /// Returns whether both keys still exist.
    pub(super) fn are_there(&self) -> bool {
        let mut content = [0_u8; 64];
        call!(libc::SYS_keyctl, READ, self.session, &mut content[..], 64).is_ok()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = call!(libc::SYS_keyctl, UNLINK, self.session, SESSION);
        let _ = call!(libc::SYS_keyctl, UNLINK, self.user, USER);
    }
}
