//! Bounds what a regular expression of an app's may cost nginx, which all apps share: it matches one while all other requests
//! of that worker wait, and PCRE's own limits allow for a fifth of a second a request.
//!
//! PCRE counts its steps and gives up at a limit, which a pattern may lower for itself: `(*LIMIT_MATCH=n)` in front of it
//! (pcre2pattern(3)). It counts them anew at each place of the text at which a match may begin. So a pattern that repeats without
//! bound must begin with `^`, which leaves one such place, and one without `^` gets a small number of steps. A request that
//! reaches the limit is answered with 500.

use piku_report::diagnostic::word;

/// The steps of a pattern that begins with `^`: more than nginx takes of an address in bytes.
const ANCHORED: u32 = 10_000;

/// The steps at each place of any other pattern.
const FLOATING: u32 = 200;

/// Repeated up to so often, an item is still counted as bounded.
const MAX_REPEAT: u32 = 64;

/// The rule for patterns that repeat, as a message states it.
const HINT: &str = "a pattern with '*' or '+' begins with '^', such as '^/images/.*\\.png$'";

/// Returns the pattern with its limit in front.
///
/// # Errors
/// When its cost cannot be bounded.
pub(super) fn bounded(pattern: &str) -> Result<String, String> {
    let scan = PatternScan::of(pattern)?;
    if scan.repeats && !scan.anchored {
        return Err(format!("{}: {HINT}", word(pattern)));
    }
    let steps = if scan.anchored { ANCHORED } else { FLOATING };
    Ok(format!("(*LIMIT_MATCH={steps}){pattern}"))
}

/// The properties of a pattern that decide its cost.
struct PatternScan {
    /// True if each of its alternatives begins with `^`.
    anchored: bool,
    /// True if anything in it may be repeated without a small bound.
    repeats: bool,
}

impl PatternScan {
    fn of(pattern: &str) -> Result<Self, String> {
        let bad = |what: &str| Err(format!("{}: {what} is not taken from an app", word(pattern)));
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
                    // A quotation would hide what follows from this reader.
                    Some('Q' | 'E') => return bad("a quotation"),
                    Some(escaped) => &next[escaped.len_utf8()..],
                    None => return bad("a lone '\\'"),
                },
                '[' => match class(next) {
                    Some(rest) => rest,
                    None => return bad("a class without its end"),
                },
                '(' => {
                    depth += 1;
                    match group(next) {
                        Some(rest) => rest,
                        None => return bad("a group of this kind"),
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
                    scan.repeats |= !is_small(next);
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

/// Returns the text that follows a class; `rest` begins behind its `[`.
fn class(rest: &str) -> Option<&str> {
    let rest = rest.strip_prefix('^').unwrap_or(rest);
    // A bracket at the beginning stands for itself.
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

/// Returns the text that follows the opening of a group of a known kind; `rest` begins behind its `(`.
fn group(rest: &str) -> Option<&str> {
    // Verbs change limits and how a match goes on.
    if rest.starts_with('*') {
        return None;
    }
    let Some(kind) = rest.strip_prefix('?') else { return Some(rest) };
    for plain in [":", "=", "!", "<=", "<!", "i:", "i)"] {
        if let Some(behind) = kind.strip_prefix(plain) {
            // The closing of `(?i)` is read as such.
            return Some(if plain == "i)" { &kind[1..] } else { behind });
        }
    }
    let name = kind.strip_prefix("P<").or_else(|| kind.strip_prefix('<'))?;
    let (name, behind) = name.split_once('>')?;
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_').then_some(behind)
}

/// Returns whether `{n}` or `{n,m}` repeats seldom; what is no such thing stands for itself. `rest` begins behind the brace.
fn is_small(rest: &str) -> bool {
    let Some((inside, _)) = rest.split_once('}') else { return true };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let small = |text: &str| text.parse::<u32>().is_ok_and(|number| number <= MAX_REPEAT);
    match inside.split_once(',') {
        None if is_number(inside) => small(inside),
        Some((least, "")) if is_number(least) => false,
        Some((least, most)) if (least.is_empty() || is_number(least)) && is_number(most) => small(most),
        // Blanks between them count in a new PCRE.
        _ => {
            !inside.bytes().any(|b| b == b',')
                || !inside.bytes().all(|b| b.is_ascii_digit() || b", ".contains(&b))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_everyday_get_a_limit() {
        for (pattern, steps) in [
            (r"\.(js|css|png)$", FLOATING),
            (r"^/old/(.*)$", ANCHORED),
            (r"^/(?<year>[0-9]{4})/([^/]+)/?$", ANCHORED),
            (r"^/a|^/b.*", ANCHORED),
            ("(?i)bot|crawler|spider", FLOATING),
            (r"^(?!/api/)[^.]*$", ANCHORED),
            (r"[]*+]x{2,3}", FLOATING),
            (r"[^\]*][[:alpha:]*]\*\+", FLOATING),
            ("a{b}{", FLOATING),
        ] {
            assert_eq!(bounded(pattern), Ok(format!("(*LIMIT_MATCH={steps}){pattern}")));
        }
    }

    #[test]
    fn what_costs_without_bound_is_refused() {
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
            let told = bounded(pattern).unwrap_err();
            assert!(told.contains("begins with '^'"), "{told}");
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
            let told = bounded(pattern).unwrap_err();
            assert!(told.contains("is not taken from an app"), "{told}");
        }
    }
}
