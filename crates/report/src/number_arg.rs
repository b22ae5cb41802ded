//! Numbers on command lines. clap passes on the messages of the standard library, such as "invalid digit
//! found in string", which say neither what was expected nor how to write it.

use std::ops::RangeInclusive;
use std::str::FromStr;

/// Returns a parser for clap that accepts the numbers of a range; its error says that `what` was expected,
/// such as "a port from 1 to 65535".
pub fn number_arg<N>(
    what: &'static str,
    range: RangeInclusive<N>,
) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static
where
    N: FromStr + PartialOrd + Clone + Send + Sync + 'static,
{
    move |word| {
        let number = word.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("expected {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_was_expected() {
        let port = number_arg("a port from 1 to 65535", 1..=u16::MAX);
        assert_eq!(port("5000"), Ok(5000));
        for bad in ["", "0", "65536", "-1", "http", "5000 "] {
            assert_eq!(port(bad), Err("expected a port from 1 to 65535".to_owned()), "{bad}");
        }
    }
}
