//! `_redirects` of a site of files, as Cloudflare Pages and Netlify read it: `FROM TO [CODE]` on each line.

use piku_report::diagnostic::{Diagnostic, quote_word};

/// Name of the file, in the folder that is served at `/`.
pub(super) const FILE: &str = "_redirects";

/// Maximum numbers of lines, and of patterns, which nginx tries one by one.
const MAX_RULES: usize = 2000;
const MAX_PATTERNS: usize = 100;

/// Stands in TO for the part that `*` matched.
const SPLAT: &str = ":splat";

/// A path whose requests are redirected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::render::nginx) struct PathRedirect {
    /// URL path, without the `*` at its end.
    pub(in crate::render::nginx) from: String,
    /// True if FROM ends with `*`.
    pub(in crate::render::nginx) is_prefix: bool,
    /// A path or URL, the part before `:splat` and the one after it.
    pub(in crate::render::nginx) to: (String, Option<String>),
    /// Status code: 301, 302, 303, 307 or 308.
    pub(in crate::render::nginx) code: u16,
}

/// The rules of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct RedirectsFile {
    pub(super) redirects: Vec<PathRedirect>,
    /// The file of `/* /FILE 200`, which makes a site a single-page app.
    pub(super) catch_all: Option<String>,
    /// Lines that are left out.
    pub(super) warnings: Vec<Diagnostic>,
}

impl RedirectsFile {
    /// Parses the text. Lines that nginx cannot follow are left out, with a warning.
    pub(super) fn parse(text: &[u8], file: &str) -> Self {
        let mut read = Self::default();
        let text = String::from_utf8_lossy(text);
        for (at, line) in text.lines().enumerate() {
            let words: Vec<&str> =
                line.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
            if words.is_empty() {
                continue;
            }
            if let ["/*", target, "200"] = words[..] {
                if let Some(path) = target.strip_prefix('/').filter(|path| is_plain_path(path)) {
                    read.catch_all.get_or_insert_with(|| path.to_owned());
                    continue;
                }
            }
            let parsed = parse_line(&words).and_then(|redirect| {
                let patterns = read.redirects.iter().filter(|other| other.is_pattern()).count();
                if read.redirects.len() >= MAX_RULES || redirect.is_pattern() && patterns >= MAX_PATTERNS {
                    return Err(format!(
                        "more than {MAX_RULES} lines, or {MAX_PATTERNS} that end with '*' or have capital letters"
                    ));
                }
                Ok(redirect)
            });
            match parsed {
                // The first line for a path applies.
                Ok(redirect) if read.redirects.iter().any(|other| other.is_same_path(&redirect)) => {}
                Ok(redirect) => read.redirects.push(redirect),
                Err(message) => {
                    let message = format!("the line is ignored: {message}");
                    read.warnings.push(Diagnostic::error(file, at + 1, message).warning());
                }
            }
        }
        read
    }
}

impl PathRedirect {
    /// Returns true if nginx has to try the path by itself: its table of paths has no regard to case.
    pub(in crate::render::nginx) fn is_pattern(&self) -> bool {
        let target = self.to.0.split(['?', '#']).next().unwrap_or_default();
        self.is_prefix
            || self.from.bytes().any(|byte| byte.is_ascii_uppercase())
            || target.eq_ignore_ascii_case(&self.from)
    }

    fn is_same_path(&self, other: &Self) -> bool {
        self.from == other.from && self.is_prefix == other.is_prefix
    }
}

fn parse_line(words: &[&str]) -> Result<PathRedirect, String> {
    let (from, to, code) = match words {
        [from, to] => (*from, *to, "302"),
        [from, to, code] => (*from, *to, *code),
        _ => return Err("it is not 'FROM TO CODE'".to_owned()),
    };
    let code = match code {
        "301" => 301,
        "302" => 302,
        "303" => 303,
        "307" => 307,
        "308" => 308,
        other => {
            return Err(format!(
                "{} is not 301, 302, 303, 307 or 308; only '/* /index.html 200' is served without a redirect",
                quote_word(other)
            ));
        }
    };
    let (path, is_prefix) = match from.strip_suffix('*') {
        Some(path) => (path, true),
        None => (from, false),
    };
    let Some(inner) = path.strip_prefix('/') else {
        return Err(format!("{} does not begin with '/'", quote_word(from)));
    };
    if !is_plain_path(inner) || inner.split('/').any(|part| part.starts_with(':')) {
        return Err(format!("{}: only a '*' at the end is supported", quote_word(from)));
    }
    let is_target = to.starts_with('/') && !to.starts_with("//")
        || ["https://", "http://"].iter().any(|scheme| to.len() > scheme.len() && to.starts_with(scheme));
    let is_plain = |c: char| c.is_ascii_graphic() && !"$\"'\\{};<>`".contains(c);
    if !is_target || !to.chars().all(is_plain) || to.len() > 1024 {
        return Err(format!("{} is not a path or a URL", quote_word(to)));
    }
    let to = match to.split_once(SPLAT) {
        Some((before, after)) if is_prefix && !after.contains(SPLAT) => {
            (before.to_owned(), Some(after.to_owned()))
        }
        Some(_) => return Err(format!("{}: one '{SPLAT}' stands for a '*' in FROM", quote_word(to))),
        None => (to.to_owned(), None),
    };
    Ok(PathRedirect { from: path.to_owned(), is_prefix, to, code })
}

/// Returns true for a relative path that nginx reads literally.
pub(super) fn is_plain_path(path: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~:@+,=%&!".contains(c);
    // nginx's hash table has space for this length.
    path.len() <= 200 && path.chars().all(is_plain) && !path.split('/').any(|part| part.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed_or_left_out_with_a_warning() {
        let text = "# moved\n/old /new\n/a.html https://b.test/x?y=1 301 # why\n/blog/* /news/:splat 308\n\
            /* /index.html 200\n/old /other\n\n/x/:id /y 301\nrelative /y\n/x $host\n/x //evil.test\n/x /y 404\n/x /y:splat\n\
            /a /b /c /d\n/x\n/../x /y\n/x \"/y\n/x javascript:alert(1)\n/b/* /:splat/:splat\n";
        let read = RedirectsFile::parse(text.as_bytes(), "public/_redirects");
        let lines: Vec<String> = read
            .redirects
            .iter()
            .map(|one| format!("{} {} {:?} {}", one.from, one.is_prefix, one.to, one.code))
            .collect();
        assert_eq!(
            lines,
            [
                "/old false (\"/new\", None) 302",
                "/a.html false (\"https://b.test/x?y=1\", None) 301",
                "/blog/ true (\"/news/\", Some(\"\")) 308",
            ]
        );
        assert_eq!(read.catch_all.as_deref(), Some("index.html"));
        let numbers: Vec<usize> = read.warnings.iter().map(|warning| warning.line).collect();
        assert_eq!(numbers, [8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    }

    #[test]
    fn a_file_has_a_limit() {
        let lines: Vec<String> = (0..3000).map(|number| format!("/{number}/* /x")).collect();
        let read = RedirectsFile::parse(lines.join("\n").as_bytes(), FILE);
        assert_eq!(read.redirects.len(), MAX_PATTERNS);
    }
}
