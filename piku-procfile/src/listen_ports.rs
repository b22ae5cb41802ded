//! `LISTEN_PORTS`: the TCP ports that an app listens on besides `PORT`.

use piku_layout::settings::ReservedPorts;
use piku_report::user_error::UserError;

/// Name of the variable.
pub const VARIABLE: &str = "LISTEN_PORTS";

/// Maximum number of ports of an app.
const MAX_PORTS: usize = 16;

/// Parses the value of `LISTEN_PORTS`, such as `4369,9100`. An unset variable has no ports.
///
/// # Errors
/// Fails if an item is not a port, or is reserved.
pub fn parse_listen_ports(value: Option<&str>, reserved: ReservedPorts) -> anyhow::Result<Vec<u16>> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let hint = format!(
        "write ports from 1 to 65535, such as {VARIABLE}=9100,9101; the port of an instance is in $PORT"
    );
    let mut ports = Vec::new();
    for word in value.split([',', ' ']).filter(|word| !word.is_empty()) {
        let shown: String = word.chars().take(20).collect();
        let Ok(port @ 1..) = word.parse::<u16>() else {
            return Err(UserError::new(format!("{VARIABLE}: '{shown}' is not a port")).hint(hint).into());
        };
        reserved.check(port, &format!("{VARIABLE}: {port}"))?;
        ports.push(port);
    }
    if ports.len() > MAX_PORTS {
        return Err(UserError::new(format!("{VARIABLE}: more than {MAX_PORTS} ports")).hint(hint).into());
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use piku_layout::settings::HostSettings;

    use super::*;

    #[test]
    fn ports_must_be_valid_and_outside_of_the_instance_range() {
        let reserved = HostSettings::default().reserved_ports();
        let ports = |value| parse_listen_ports(Some(value), reserved);
        assert!(parse_listen_ports(None, reserved).unwrap().is_empty());
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
            ("15432", "15432 is one of the ports that piku gives to services"),
            (&"1 ".repeat(17), "more than 16"),
        ] {
            let message = ports(bad).unwrap_err().to_string();
            assert!(message.starts_with("LISTEN_PORTS: ") && message.contains(word), "{message}");
        }
    }
}
