//! The arguments of `logs` for several hosts.

use piku_report::user_error::{USAGE, UserError};

/// Number of lines printed by default.
const LINES: usize = 100;

/// Arguments of `logs` that concern the merged lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MergeQuery {
    pub(super) follow: bool,
    /// `None` for all lines.
    pub(super) lines: Option<usize>,
    pub(super) raw: bool,
    pub(super) since: Option<String>,
    /// Other arguments, for each host.
    pub(super) passed: Vec<String>,
}

impl MergeQuery {
    pub(super) fn parse(args: &[String]) -> anyhow::Result<Self> {
        let mut query = Self { follow: false, lines: None, raw: false, since: None, passed: Vec::new() };
        let mut only = None;
        // `-fn5` is `-f -n5`.
        let split = |word: &String| match word.strip_prefix("-f") {
            Some(rest) if !rest.is_empty() => vec!["-f".to_owned(), format!("-{rest}")],
            _ => vec![word.clone()],
        };
        let args: Vec<String> = args.iter().flat_map(split).collect();
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let (name, joined) = match word.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
                _ => (word.as_str(), None),
            };
            let mut value = || joined.clone().or_else(|| words.next().cloned()).unwrap_or_default();
            match name {
                "-f" | "--follow" => query.follow = true,
                "-n" | "--lines" => query.lines = Some(parse_number(&value())?),
                "--raw" => query.raw = true,
                "--terminal" => {}
                "--since" => query.since = Some(value()),
                "--ps" => only = Some(value()),
                short if short.starts_with("-n") => query.lines = Some(parse_number(&short[2..])?),
                option if option.starts_with('-') => {
                    return Err(UserError::new(format!("unexpected option '{option}'")).code(USAGE).into());
                }
                // Never the name of another app, which the key of this machine might reach there.
                _ if only.is_none() => only = Some(word.clone()),
                _ => {
                    let what = "the logs of an app on other machines are shown alone, or of one of its types";
                    return Err(UserError::new(what).code(USAGE).into());
                }
            }
        }
        if let Some(only) = only {
            query.passed.extend(["--ps".to_owned(), only]);
        }
        if query.lines.is_none() && query.since.is_none() {
            query.lines = Some(LINES);
        }
        if query.raw {
            query.passed.push("--raw".to_owned());
        }
        Ok(query)
    }
}

fn parse_number(text: &str) -> anyhow::Result<usize> {
    text.parse().map_err(|_| UserError::new(format!("'{text}' is no number of lines")).code(USAGE).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<MergeQuery> {
        MergeQuery::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn each_host_is_asked_for_one_app() {
        let query = parse("web -f -n 5 --raw").unwrap();
        assert_eq!((query.follow, query.lines, query.raw), (true, Some(5), true));
        // A word is a type: the key of this host might reach an app of that name there.
        assert_eq!(query.passed, ["--ps", "web", "--raw"]);
        assert_eq!(parse("").unwrap().lines, Some(LINES));
        assert_eq!(parse("--since=2h").unwrap().lines, None);
        assert_eq!(parse("-fn 7").unwrap(), parse("-f -n7").unwrap());
        assert_eq!(parse("-fn7").unwrap(), parse("-f -n7").unwrap());
        assert_eq!(parse("-n7").unwrap().lines, Some(7));
        assert!(parse("web shop").is_err() && parse("-x").is_err() && parse("-n many").is_err());
    }
}
