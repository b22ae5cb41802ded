//! `NGINX_REDIRECTS`: host names whose requests are redirected to another one, as by dokku's redirect plugin.

use std::collections::HashSet;

use piku_report::diagnostic::quote_word;

use crate::render::app_values::{AppValues, ValuesReader};
use crate::render::nginx::HostName;

const REDIRECTS: &str = "NGINX_REDIRECTS";
/// Maximum number of redirects: nginx has a server for each.
const MAX_REDIRECTS: usize = 200;
const HINT: &str = "write FROM:TO, such as 'www.example.org:example.org', or FROM:TO:302";

/// A host name whose requests are redirected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::render::nginx) struct HostRedirect {
    pub(in crate::render::nginx) from: HostName,
    pub(in crate::render::nginx) to: HostName,
    /// Status code: 301, 302, 307 or 308.
    pub(in crate::render::nginx) code: u16,
}

/// Returns the valid host names that are redirected.
pub(in crate::render::nginx) fn redirected_names(values: &AppValues) -> Vec<HostName> {
    let items = ValuesReader::new(values).items(REDIRECTS);
    items.filter_map(|item| parse_redirect(item).ok()).map(|redirect| redirect.from).collect()
}

/// Parses the redirects of an app that has these host names.
pub(super) fn parse_redirects(names: &[HostName], read: &mut ValuesReader<'_>) -> Vec<HostRedirect> {
    let mut redirects: Vec<HostRedirect> = Vec::new();
    let mut seen: HashSet<HostName> = HashSet::new();
    for item in read.bounded_items(REDIRECTS, MAX_REDIRECTS) {
        let redirect = match parse_redirect(item) {
            Ok(redirect) => redirect,
            Err(message) => {
                read.add_error(REDIRECTS, message, Some(HINT));
                continue;
            }
        };
        let from = redirect.from.as_str();
        if names.contains(&redirect.from) {
            let what = format!("{} is one of the names in NGINX_SERVER_NAME", quote_word(from));
            read.add_error(REDIRECTS, what, Some("a name either serves the app or is redirected"));
        } else if !seen.insert(redirect.from.clone()) {
            read.add_error(REDIRECTS, format!("{} is redirected twice", quote_word(from)), None);
        } else {
            redirects.push(redirect);
        }
    }
    let is_loop = |redirect: &&HostRedirect| {
        let matches = |from: &HostRedirect| from.from.matches(&redirect.to) && !names.contains(&redirect.to);
        redirects.iter().any(matches)
    };
    if let Some(loops) = redirects.iter().find(is_loop) {
        let what = format!("{} is redirected itself", quote_word(loops.to.as_str()));
        read.add_error(REDIRECTS, what, Some("redirect to a name that serves the app"));
    }
    redirects
}

fn parse_redirect(item: &str) -> Result<HostRedirect, String> {
    let mut parts = item.split(':');
    let (Some(from), Some(to), code, None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(format!("{} is not FROM:TO", quote_word(item)));
    };
    let (from, to): (HostName, HostName) = (from.parse()?, to.parse()?);
    if to.is_pattern() || from.is_default() {
        return Err(format!("{} must redirect one name to another", quote_word(item)));
    }
    let code = match code.unwrap_or("301") {
        "301" => 301,
        "302" => 302,
        "307" => 307,
        "308" => 308,
        other => return Err(format!("{} is not 301, 302, 307 or 308", quote_word(other))),
    };
    Ok(HostRedirect { from, to, code })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<usize, String> {
        let mut values = AppValues::default();
        values.set(REDIRECTS, text, "ENV");
        let mut read = ValuesReader::new(&values);
        let redirects =
            parse_redirects(&["a.test".parse().unwrap(), "www.d.test".parse().unwrap()], &mut read);
        read.finish().map(|_| redirects.len()).map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_name_is_redirected_once_and_not_to_itself() {
        assert_eq!(parse("www.a.test:a.test, b.test:c.test:308\n*.d.test:www.d.test"), Ok(3));
        for (text, message) in [
            ("a.test", "'a.test' is not FROM:TO"),
            ("a:b:301:4", "is not FROM:TO"),
            ("a.test:b.test", "'a.test' is one of the names in NGINX_SERVER_NAME"),
            ("b.test:a.test b.test:c.test", "'b.test' is redirected twice"),
            ("b.test:b.test", "'b.test' is redirected itself"),
            ("b.test:c.test c.test:a.test", "'c.test' is redirected itself"),
            ("*.b.test:www.b.test", "'www.b.test' is redirected itself"),
            ("b.test:*.a.test", "must redirect one name to another"),
            ("_:a.test", "must redirect one name to another"),
            ("b.test:a.test:200", "'200' is not 301, 302, 307 or 308"),
            ("b.test:https://a.test", "'//a.test' is not 301, 302, 307 or 308"),
            ("b.test:$host", "is not a host name"),
        ] {
            let told = parse(text).unwrap_err();
            assert!(told.contains(message), "{text}: {told}");
        }
    }
}
