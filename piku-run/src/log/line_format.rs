//! Times of log lines: in the form of piku's logs, of nginx's access log and of its error log.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;

use super::line;

/// Length of the time at the start of a line of piku's.
pub(super) const TIME: usize = "2026-11-22T10:00:00.123Z".len();

/// Length of the time in nginx's logs.
const ACCESS_TIME: usize = "22/Nov/2026:10:00:00 +0000".len();
const ERROR_TIME: usize = "2026/11/22 10:00:00".len();

/// The form of a log's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LineFormat {
    /// `2026-11-22T10:00:00.123Z web.1: TEXT`.
    #[default]
    Piku,
    /// `192.0.2.1 - - [22/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" …`.
    NginxAccess,
    /// `2026/11/22 10:00:00 [error] …`, in local time.
    NginxError,
}

impl LineFormat {
    /// Returns the number of bytes at the start of a line that contain its time.
    pub(super) fn prefix_length(self) -> usize {
        match self {
            // A user name in front of the time is as long as its client wants.
            Self::NginxAccess => 1024,
            Self::Piku | Self::NginxError => TIME,
        }
    }

    /// Returns the time in the form of piku's logs, which sorts as text; `None` for a line without one.
    pub(super) fn parse_time(self, line: &[u8]) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Piku => parse_piku_time(line).map(Cow::Borrowed),
            Self::NginxAccess => parse_access_time(line).map(to_text),
            Self::NginxError => parse_error_time(line).map(to_text),
        }
    }
}

fn to_text(time: Timestamp) -> Cow<'static, [u8]> {
    Cow::Owned(line::format_time(time).into_bytes())
}

fn parse_piku_time(line: &[u8]) -> Option<&[u8]> {
    let (time, rest) = line.split_at_checked(TIME)?;
    let good = time.ends_with(b"Z") && time[10] == b'T' && time[0].is_ascii_digit() && rest.starts_with(b" ");
    good.then_some(time)
}

/// Parses the first time in brackets: the client's own text follows it, except for its user name.
fn parse_access_time(line: &[u8]) -> Option<Timestamp> {
    let open = line.iter().position(|byte| *byte == b'[')?;
    let text = std::str::from_utf8(line.get(open + 1..open + 1 + ACCESS_TIME)?).ok()?;
    BrokenDownTime::parse("%d/%b/%Y:%H:%M:%S %z", text).ok()?.to_timestamp().ok()
}

fn parse_error_time(line: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(line.get(..ERROR_TIME)?).ok()?;
    let time = DateTime::strptime("%Y/%m/%d %H:%M:%S", text).ok()?;
    Some(time.to_zoned(TimeZone::system()).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_parsed_in_each_format() {
        let parse = |format: LineFormat, line: &str| {
            let time = format.parse_time(line.as_bytes());
            time.map(|time| String::from_utf8(time.into_owned()).unwrap())
        };
        let access =
            "::1 - ann [22/Nov/2026:10:00:00 +0100] \"GET /[22/Nov/2020:10:00:00 +0100] HTTP/1.1\" 200";
        assert_eq!(parse(LineFormat::NginxAccess, access).as_deref(), Some("2026-11-22T09:00:00.000Z"));
        let error = "2026/11/22 10:00:00 [error] 7#7: *1 connect() failed";
        let local: DateTime = "2026-11-22T10:00:00".parse().unwrap();
        let utc = local.to_zoned(TimeZone::system()).unwrap().timestamp();
        assert_eq!(parse(LineFormat::NginxError, error), Some(line::format_time(utc)));
        let own = "2026-11-22T10:00:00.123Z web.1: text";
        assert_eq!(parse(LineFormat::Piku, own).as_deref(), Some("2026-11-22T10:00:00.123Z"));
        for format in [LineFormat::Piku, LineFormat::NginxAccess, LineFormat::NginxError] {
            for bad in ["", "[", "[22/Nov", "no time here, but long enough to have one [x"] {
                assert_eq!(parse(format, bad), None, "{bad}");
            }
        }
    }
}
