//! Variables that set one directive of nginx. Their names are those of dokku's `nginx:set` properties.

use crate::render::app_values::ValuesReader;
use crate::render::nginx::proxy_buffers::parse_size;
use piku_report::diagnostic::quote_word;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueForm {
    /// A number of bytes, with an optional `k`, `m` or `g`.
    Size,
    /// A number of seconds, or of another unit that follows it.
    Time,
    /// On or off.
    Flag,
}

/// Requests that a directive applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::render::nginx) enum DirectiveScope {
    /// All requests.
    Server,
    /// Requests that are passed to the app.
    Proxy,
}

const READ_TIMEOUT: &str = "proxy_read_timeout";

/// Ten years, in milliseconds.
const LONGEST: u64 = 315_360_000_000;

/// Variable, directive, form of the value, and piku's own value.
type SettingRow = (&'static str, &'static str, ValueForm, DirectiveScope, Option<&'static str>);

#[rustfmt::skip]
const ROWS: &[SettingRow] = {
    use DirectiveScope::{Proxy, Server};
    use ValueForm::{Flag, Size, Time};
    &[
        ("NGINX_CLIENT_MAX_BODY_SIZE", "client_max_body_size", Size, Proxy, Some("64m")),
        ("NGINX_CLIENT_BODY_TIMEOUT", "client_body_timeout", Time, Server, None),
        ("NGINX_SEND_TIMEOUT", "send_timeout", Time, Server, None),
        ("NGINX_KEEPALIVE_TIMEOUT", "keepalive_timeout", Time, Server, None),
        ("NGINX_LINGERING_TIMEOUT", "lingering_timeout", Time, Server, None),
        ("NGINX_UNDERSCORE_IN_HEADERS", "underscores_in_headers", Flag, Server, None),
        ("NGINX_PROXY_CONNECT_TIMEOUT", "proxy_connect_timeout", Time, Proxy, Some("5s")),
        ("NGINX_PROXY_READ_TIMEOUT", READ_TIMEOUT, Time, Proxy, Some("300s")),
        ("NGINX_PROXY_SEND_TIMEOUT", "proxy_send_timeout", Time, Proxy, Some("300s")),
        // Otherwise nginx holds back an event until its buffer is full. The kernel buffers what a slow client
        // has not read yet, up to some megabytes.
        ("NGINX_PROXY_BUFFERING", "proxy_buffering", Flag, Proxy, Some("off")),
        ("NGINX_PROXY_REQUEST_BUFFERING", "proxy_request_buffering", Flag, Proxy, None),
    ]
};

/// The directives that these variables set, with their scope and value.
pub(in crate::render::nginx) type SettingDirectives = Vec<(DirectiveScope, &'static str, String)>;

/// Returns the directives for requests to the app of which piku has a value of its own, with that value.
pub(in crate::render::nginx) fn usual_directives() -> impl Iterator<Item = (&'static str, &'static str)> {
    ROWS.iter().filter_map(|(_, directive, _, scope, usual)| {
        usual.filter(|_| *scope == DirectiveScope::Proxy).map(|value| (*directive, value))
    })
}

/// Seconds that a front waits longer for a response than the nginx of the machine does.
const FRONT_ADVANCE: u64 = 5;

/// Parses the variables. A machine gives up a slow response before the `front` does: its nginx answers 504, and
/// the request is not repeated on another machine.
pub(super) fn parse_directives(read: &mut ValuesReader<'_>, is_front: bool) -> SettingDirectives {
    let mut directives = Vec::new();
    for (variable, directive, form, scope, usual) in ROWS {
        let given = read.text(variable);
        let value = match form {
            _ if given.is_none() => usual.map(str::to_owned),
            ValueForm::Flag => Some(if read.parse_bool(variable) { "on" } else { "off" }.to_owned()),
            ValueForm::Size => parse_value(read, variable, is_size, "a size such as '200m'"),
            ValueForm::Time => parse_value(read, variable, is_time, "a time such as '60s' or '1h'"),
        };
        let value = match value.as_deref().and_then(parse_time) {
            Some(time) if is_front && *directive == READ_TIMEOUT => {
                Some(format!("{}s", time.div_ceil(1000) + FRONT_ADVANCE))
            }
            _ => value,
        };
        directives.extend(value.map(|value| (*scope, *directive, value)));
    }
    directives
}

/// Returns the value, or adds an error that says what is `wanted`.
fn parse_value(
    read: &mut ValuesReader<'_>,
    variable: &str,
    is_good: fn(&str) -> bool,
    wanted: &str,
) -> Option<String> {
    let text = read.text(variable)?;
    // nginx reads no longer words than 4096 bytes.
    if text.len() <= 20 && is_good(text) {
        return Some(text.to_owned());
    }
    read.add_error(variable, format!("{} is not {wanted}", quote_word(text)), None);
    None
}

/// Returns true for a size of less than 1 TB; 0 means no limit.
fn is_size(text: &str) -> bool {
    parse_size(text).is_some_and(|bytes| bytes < 1 << 40)
}

/// Returns true for a time that can be parsed.
fn is_time(text: &str) -> bool {
    parse_time(text).is_some()
}

/// Parses a time of less than ten years, into milliseconds.
fn parse_time(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| is_number)?;
    number.checked_mul(unit).filter(|time| *time < LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        for good in ["0", "1024", "200m", "1G", "64K"] {
            assert!(is_size(good), "{good}");
        }
        for bad in ["", "m", "-1", "+1", "1.5m", "200 m", "200mb", "9999g", "1m;", "$a", "1\n"] {
            assert!(!is_size(bad), "{bad}");
        }
        assert_eq!(["60", "500ms", "1h"].map(parse_time), [Some(60_000), Some(500), Some(3_600_000)]);
        for good in ["0", "60", "60s", "500ms", "5m", "1h", "7d"] {
            assert!(is_time(good), "{good}");
        }
        for bad in
            ["", "s", "-1", "+1s", "1.5h", "1 h", "1h30", "forever", "99999999999", "4000d", "1s;", "$a"]
        {
            assert!(!is_time(bad), "{bad}");
        }
    }
}
