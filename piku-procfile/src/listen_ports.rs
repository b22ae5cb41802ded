//! The TCP ports that an app listens on beside `PORT`, from ENV and the configuration.

use piku_layout::settings::PortRange;
use piku_report::user_error::UserError;

/// The variable that names them.
pub const VARIABLE: &str = "LISTEN_PORTS";

/// More than these no app needs.
const MOST: usize = 16;

/// Reads the value of `LISTEN_PORTS`, such as `4369,9100`; none without one.
///
/// # Errors
/// When one is no port, or one that instances of any app may be given.
pub fn read(value: Option<&str>, range: PortRange) -> anyhow::Result<Vec<u16>> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let hint = format!("{VARIABLE}=9100,9101 names ports from 1 to 65535; an instance's own is in $PORT");
    let mut ports = Vec::new();
    for word in value.split([',', ' ']).filter(|word| !word.is_empty()) {
        let shown: String = word.chars().take(20).collect();
        let Ok(port @ 1..) = word.parse::<u16>() else {
            return Err(UserError::new(format!("{VARIABLE}: '{shown}' is not a port")).hint(hint).into());
        };
        if (range.first..=range.last).contains(&port) {
            let what = format!("{VARIABLE}: {port} is one of the ports that piku gives to instances");
            return Err(UserError::new(what)
                .hint(format!("name one outside of {} to {}", range.first, range.last))
                .into());
        }
        ports.push(port);
    }
    if ports.len() > MOST {
        return Err(UserError::new(format!("{VARIABLE}: more than {MOST} ports")).hint(hint).into());
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_named_and_none_is_another_app_s() {
        let range = PortRange { first: 20000, last: 29999 };
        let ports = |value| read(Some(value), range);
        assert!(read(None, range).unwrap().is_empty());
        assert_eq!(ports("4369, 9100 19999").unwrap(), [4369, 9100, 19999]);
        assert!(ports("").unwrap().is_empty());
        for (bad, word) in [
            ("0", "'0' is not a port"),
            ("65536", "is not a port"),
            ("-1", "is not a port"),
            ("http", "is not a port"),
            ("8000-9000", "is not a port"),
            ("9100,20000", "20000 is one of the ports that piku gives"),
            ("29999", "is one of the ports"),
            (&"1 ".repeat(17), "more than 16"),
        ] {
            let told = ports(bad).unwrap_err().to_string();
            assert!(told.starts_with("LISTEN_PORTS: ") && told.contains(word), "{told}");
        }
    }
}
