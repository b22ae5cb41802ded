//! Limits the cost of an app's regular expressions. All apps share one nginx, and while a worker matches
//! an expression its other requests wait; PCRE's default limits allow a fifth of a second per request.
//!
//! PCRE counts its steps and gives up at a limit, which a pattern can lower with `(*LIMIT_MATCH=n)` in
//! front of it (pcre2pattern(3)). The count starts again at each position where a match may begin.
//! Therefore a pattern with unbounded repetition must begin with `^`, which leaves one such position, and
//! a pattern without `^` gets a small limit. A request that exceeds the limit gets a 500.

use piku_report::diagnostic::quote_word;

use super::syntax::NginxDirective;

/// Steps of a pattern that begins with `^`: more than nginx accepts bytes in a URI.
const ANCHORED_STEPS: u32 = 10_000;

/// Steps per position of any other pattern.
const FLOATING_STEPS: u32 = 200;

/// Repetition up to this number counts as bounded.
const MAX_REPEAT: u32 = 64;

const HINT: &str = "a pattern with '*' or '+' must begin with '^', such as '^/images/.*\\.png$'";

/// Returns the pattern with its limit in front. Fails if its cost cannot be limited.
fn limit_pattern(pattern: &str) -> Result<String, String> {
    let scan = PatternScan::run(pattern)?;
    if scan.repeats && !scan.anchored {
        return Err(format!("{}: {HINT}", quote_word(pattern)));
    }
    let steps = if scan.anchored { ANCHORED_STEPS } else { FLOATING_STEPS };
    Ok(format!("(*LIMIT_MATCH={steps}){pattern}"))
}

/// Properties of a pattern that determine its cost.
struct PatternScan {
    /// True if every alternative begins with `^`.
    anchored: bool,
    /// True if any part may repeat more than [`MAX_REPEAT`] times.
    repeats: bool,
}

impl PatternScan {
    fn run(pattern: &str) -> Result<Self, String> {
        let bad =
            |what: &str| Err(format!("{}: {what} is not allowed in an app's file", quote_word(pattern)));
        let mut scan = Self { anchored: true, repeats: false };
        let mut depth = 0_u32;
        let mut begins = true;
        let mut rest = pattern;
        while let Some(c) = rest.chars().next() {
            let next = &rest[c.len_utf8()..];
            let is_first = std::mem::take(&mut begins);
            if is_first && c != '^' {
                scan.anchored = false;
            }
            rest = match c {
                '\\' => match next.chars().next() {
                    // A quotation would hide the following text from this scan.
                    Some('Q' | 'E') => return bad("a quotation"),
                    Some(escaped) => &next[escaped.len_utf8()..],
                    None => return bad("a lone '\\'"),
                },
                '[' => match skip_class(next) {
                    Some(rest) => rest,
                    None => return bad("an unclosed class"),
                },
                '(' => {
                    depth += 1;
                    match skip_group_start(next) {
                        Some(rest) => rest,
                        None => return bad("this kind of group"),
                    }
                }
                ')' => {
                    depth = depth.saturating_sub(1);
                    next
                }
                '|' => {
                    begins = depth == 0;
                    next
                }
                '*' | '+' => {
                    scan.repeats = true;
                    next
                }
                '{' => {
                    scan.repeats |= !is_small_repeat(next);
                    next
                }
                _ => next,
            };
        }
        // An empty alternative matches anywhere.
        scan.anchored &= !begins;
        Ok(scan)
    }
}

/// Returns the text after a class. `rest` begins after its `[`.
fn skip_class(rest: &str) -> Option<&str> {
    let rest = rest.strip_prefix('^').unwrap_or(rest);
    // A bracket at the beginning is literal.
    let mut rest = rest.strip_prefix(']').unwrap_or(rest);
    loop {
        let c = rest.chars().next()?;
        rest = match c {
            ']' => return Some(&rest[1..]),
            '\\' => rest.get(1..)?.get(rest[1..].chars().next()?.len_utf8()..)?,
            '[' => {
                match rest[1..].strip_prefix(':').and_then(|name| name.find(":]").map(|at| &name[at + 2..])) {
                    Some(behind) => behind,
                    None => &rest[1..],
                }
            }
            _ => &rest[c.len_utf8()..],
        };
    }
}

/// Returns the text after the start of a group of a known kind. `rest` begins after its `(`.
fn skip_group_start(rest: &str) -> Option<&str> {
    // Verbs change limits and backtracking.
    if rest.starts_with('*') {
        return None;
    }
    let Some(kind) = rest.strip_prefix('?') else { return Some(rest) };
    for plain in [":", "=", "!", "<=", "<!", "i:", "i)"] {
        if let Some(behind) = kind.strip_prefix(plain) {
            // The caller reads the `)` of `(?i)`.
            return Some(if plain == "i)" { &kind[1..] } else { behind });
        }
    }
    let name = kind.strip_prefix("P<").or_else(|| kind.strip_prefix('<'))?;
    let (name, behind) = name.split_once('>')?;
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_').then_some(behind)
}

/// Returns true if `{n}` or `{n,m}` is within [`MAX_REPEAT`]; other text in braces is literal. `rest`
/// begins after the `{`.
fn is_small_repeat(rest: &str) -> bool {
    let Some((inside, _)) = rest.split_once('}') else { return true };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let small = |text: &str| text.parse::<u32>().is_ok_and(|number| number <= MAX_REPEAT);
    match inside.split_once(',') {
        None if is_number(inside) => small(inside),
        Some((least, "")) if is_number(least) => false,
        Some((least, most)) if (least.is_empty() || is_number(least)) && is_number(most) => small(most),
        // New versions of PCRE allow blanks between the numbers.
        _ => {
            !inside.bytes().any(|b| b == b',')
                || !inside.bytes().all(|b| b.is_ascii_digit() || b", ".contains(&b))
        }
    }
}

/// A regular expression in the words of a directive.
pub(super) struct FoundPattern<'a> {
    /// Index of its word.
    pub(super) at: usize,
    /// Rest of that word before and after it.
    around: (&'a str, &'a str),
    pattern: &'a str,
}

impl FoundPattern<'_> {
    /// Returns the word with the cost of the pattern limited.
    pub(super) fn with_limit(&self) -> Result<String, String> {
        let (before, after) = self.around;
        Ok(format!("{before}{}{after}", limit_pattern(self.pattern)?))
    }
}

/// Finds the regular expression that nginx reads in a directive.
pub(super) fn find_pattern(directive: &NginxDirective) -> Option<FoundPattern<'_>> {
    let words = &directive.words;
    let whole = |at: usize| Some(FoundPattern { at, around: ("", ""), pattern: words.get(at)? });
    // `~x` and `~*x` in one word.
    let marked = |at: usize| {
        let word = words.get(at)?;
        let length = if word.starts_with("~*") { 2 } else { usize::from(word.starts_with('~')) };
        let (mark, pattern) = word.split_at(length);
        (length > 0).then_some(FoundPattern { at, around: (mark, ""), pattern })
    };
    match directive.name() {
        "location" if matches!(words.get(1).map(String::as_str), Some("~" | "~*")) => whole(2),
        "location"
        | "proxy_redirect"
        | "proxy_cookie_domain"
        | "proxy_cookie_path"
        | "proxy_cookie_flags" => marked(1),
        "rewrite" => whole(1),
        "if" => {
            let is_operator = |word: &String| matches!(word.as_str(), "~" | "~*" | "!~" | "!~*");
            let at = 2 + words.get(1..)?.iter().position(is_operator)?;
            let word = words.get(at)?;
            // The closing bracket of the condition is part of the word, or a separate word.
            let end = if at + 1 == words.len() { ")" } else { "" };
            Some(FoundPattern { at, around: ("", end), pattern: word.strip_suffix(end)? })
        }
        _ => None,
    }
}

/// Returns the lines of all regular expressions.
pub(super) fn pattern_lines(directives: &[NginxDirective]) -> Box<dyn Iterator<Item = usize> + '_> {
    Box::new(directives.iter().flat_map(|directive| {
        let own = find_pattern(directive).map(|_| directive.line);
        own.into_iter().chain(directive.block.as_deref().map(pattern_lines).into_iter().flatten())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_patterns_get_a_limit() {
        for (pattern, steps) in [
            (r"\.(js|css|png)$", FLOATING_STEPS),
            (r"^/old/(.*)$", ANCHORED_STEPS),
            (r"^/(?<year>[0-9]{4})/([^/]+)/?$", ANCHORED_STEPS),
            (r"^/a|^/b.*", ANCHORED_STEPS),
            ("(?i)bot|crawler|spider", FLOATING_STEPS),
            (r"^(?!/api/)[^.]*$", ANCHORED_STEPS),
            (r"[]*+]x{2,3}", FLOATING_STEPS),
            (r"[^\]*][[:alpha:]*]\*\+", FLOATING_STEPS),
            ("a{b}{", FLOATING_STEPS),
        ] {
            assert_eq!(limit_pattern(pattern), Ok(format!("(*LIMIT_MATCH={steps}){pattern}")));
        }
    }

    #[test]
    fn unbounded_cost_is_an_error() {
        for pattern in [
            "(a+)+$",
            "a*",
            "^a|b*",
            "^a.*|",
            "(^/a|b).*",
            "x{2,}",
            "x{1,65}",
            "x{1000}",
            "x{ 2 , }",
            "[a]+",
            "[]a]+",
            r"[\]]+",
            r"\\+",
            "[[:digit:]]+",
        ] {
            let message = limit_pattern(pattern).unwrap_err();
            assert!(message.contains("must begin with '^'"), "{message}");
        }
        for pattern in [
            "(*LIMIT_MATCH=4000000000)^(a+)+$",
            "^a(*SKIP)b",
            "(?m)^a.*",
            "^(?R)",
            "^(?1)x",
            "^(?#*)a",
            r"\Q[\E.*",
            "^[a",
            "^a\\",
            "^(?(1)a|b)",
            "^(?>a+)",
        ] {
            let message = limit_pattern(pattern).unwrap_err();
            assert!(message.contains("is not allowed in an app's file"), "{message}");
        }
    }
}
