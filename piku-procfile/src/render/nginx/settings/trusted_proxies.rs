//! Proxies in front of piku's nginx whose `X-Forwarded-*` headers are believed: a load balancer, a tunnel or
//! Cloudflare.

use piku_report::diagnostic::quote_word;

use super::cloudflare;
use crate::render::app_values::ValuesReader;

const TRUSTED: &str = "NGINX_TRUSTED_PROXIES";

/// The addresses that `private` stands for: this machine and private networks (RFC 1918, RFC 4193).
const PRIVATE: [&str; 6] =
    ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

/// The proxies whose headers are believed.
#[derive(Debug, Clone)]
pub(in crate::render::nginx) struct TrustedProxies {
    /// Address ranges.
    pub(in crate::render::nginx) ranges: Vec<String>,
    /// Header with the client's address.
    pub(in crate::render::nginx) header: &'static str,
}

/// Parses the ranges of the app and adds those of the operator and of Cloudflare, if only Cloudflare gets a
/// response.
pub(super) fn parse_trusted_proxies(
    operators: &[String],
    cloudflare: Option<&[String]>,
    read: &mut ValuesReader<'_>,
) -> Option<TrustedProxies> {
    let mut ranges: Vec<String> = cloudflare.unwrap_or_default().to_vec();
    for item in read.items(TRUSTED) {
        match parse_item(item) {
            Ok(more) => ranges.extend(more),
            Err(message) => {
                let hint = "write addresses such as '10.0.0.7' or '10.0.0.0/8', or 'private'";
                read.add_error(TRUSTED, message, Some(hint));
            }
        }
    }
    // The operator's have been checked with host.yaml.
    ranges.extend(operators.iter().filter_map(|item| parse_item(item).ok()).flatten());
    let mut seen = std::collections::HashSet::new();
    ranges.retain(|range| seen.insert(range.clone()));
    let header = if cloudflare.is_some() { "CF-Connecting-IP" } else { "X-Forwarded-For" };
    (!ranges.is_empty()).then_some(TrustedProxies { ranges, header })
}

fn parse_item(item: &str) -> Result<Vec<String>, String> {
    if item == "private" {
        return Ok(PRIVATE.map(str::to_owned).to_vec());
    }
    let ranges = if item.len() <= 64 { cloudflare::parse_ranges(item).ok() } else { None };
    ranges.ok_or_else(|| format!("{} is not an address range", quote_word(item)))
}

/// Checks that this is a range, an address or `private`.
///
/// # Errors
/// Fails with a message about the item.
pub fn check_trusted_proxy(item: &str) -> Result<(), String> {
    parse_item(item).map(drop)
}
