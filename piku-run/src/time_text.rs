//! Times and durations for people.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Formats a time in the local time zone.
pub(crate) fn format_local_time(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

/// Formats seconds: `12s`, `3m 5s`, `2h 10m`, `4d 1h`.
pub(crate) fn format_duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}
