//! The time as it is written down: RFC 3339 in UTC, whole seconds.

use jiff::{Timestamp, Unit};

/// This second.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Second).unwrap_or(now)
}
