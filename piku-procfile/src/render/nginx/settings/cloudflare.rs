//! The address ranges of Cloudflare. The list is built in because a deploy makes no network requests; the
//! operator can replace it.

/// Source: <https://www.cloudflare.com/ips/>, unchanged since 2021.
const RANGES: [&str; 22] = [
    "173.245.48.0/20",
    "103.21.244.0/22",
    "103.22.200.0/22",
    "103.31.4.0/22",
    "141.101.64.0/18",
    "108.162.192.0/18",
    "190.93.240.0/20",
    "188.114.96.0/20",
    "197.234.240.0/22",
    "198.41.128.0/17",
    "162.158.0.0/15",
    "104.16.0.0/13",
    "104.24.0.0/14",
    "172.64.0.0/13",
    "131.0.72.0/22",
    "2400:cb00::/32",
    "2606:4700::/32",
    "2803:f800::/32",
    "2405:b500::/32",
    "2405:8100::/32",
    "2a06:98c0::/29",
    "2c0f:f248::/32",
];

pub(super) fn builtin_ranges() -> Vec<String> {
    RANGES.map(str::to_owned).to_vec()
}

/// Parses a list with one range per line.
pub(super) fn parse_ranges(text: &str) -> Result<Vec<String>, String> {
    let mut ranges = Vec::new();
    for (at, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (address, length) = line.split_once('/').unwrap_or((line, ""));
        let good = address.parse::<std::net::IpAddr>().is_ok_and(|address| {
            let longest = if address.is_ipv6() { 128 } else { 32 };
            length.is_empty() || length.parse::<u8>().is_ok_and(|length| length <= longest)
        });
        if !good {
            return Err(format!("line {} is not an address range", at + 1));
        }
        ranges.push(line.to_owned());
    }
    if ranges.is_empty() { Err("the list has no address ranges".to_owned()) } else { Ok(ranges) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builtin_ranges_are_valid() {
        assert_eq!(parse_ranges(&builtin_ranges().join("\n")).unwrap(), builtin_ranges());
        for bad in ["", "x", "1.2.3.4/33", "::/129", "1.2.3.4/8;"] {
            assert!(parse_ranges(bad).is_err(), "{bad}");
        }
    }
}
