//! `_headers` of a site of files, as Cloudflare Pages and Netlify read it: a path on a line of its own, below it
//! indented lines `Name: value`.

use piku_report::diagnostic::{Diagnostic, quote_word};

use super::path_redirects::is_plain_path;
use crate::quoting::quote_nginx;

/// Name of the file, in the folder that is served at `/`.
pub(super) const FILE: &str = "_headers";

/// Maximum numbers of paths, of lines with headers, and of different headers: nginx has a map for each.
const MAX_PATHS: usize = 100;
const MAX_LINES: usize = 500;
const MAX_NAMES: usize = 32;
/// Maximum length of a value as it is written; nginx reads words of less than 4096 bytes.
const MAX_VALUE: usize = 4000;
/// Maximum length of all values together, in bytes: each path has those of the shorter ones, too.
const MAX_SIZE: usize = 128 << 10;
/// Headers that describe the response or the connection: nginx sets them itself.
const NGINX_OWN: [&str; 16] = [
    "accept-ranges",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "etag",
    "keep-alive",
    "last-modified",
    "location",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A header of the responses for some paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::render::nginx) struct SiteHeader {
    pub(in crate::render::nginx) name: String,
    /// The paths, exact ones first, then the longest, with the value: empty where a line takes the header back.
    pub(in crate::render::nginx) values: Vec<(HeaderPath, String)>,
}

/// A path of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::render::nginx) struct HeaderPath {
    /// Normalized URL path, without the `*` at its end.
    pub(in crate::render::nginx) path: String,
    /// True if it ends with `*`.
    pub(in crate::render::nginx) is_prefix: bool,
}

impl HeaderPath {
    /// Returns whether all paths of `other` are paths of this one.
    fn contains(&self, other: &Self) -> bool {
        self == other || self.is_prefix && other.path.starts_with(&self.path)
    }
}

/// The headers that are read so far.
#[derive(Default)]
struct HeaderTable {
    headers: Vec<SiteHeader>,
    /// The lines of each header in the order of the file; no value takes the header back.
    lines: Vec<Vec<(HeaderPath, Option<String>)>>,
    line_count: usize,
    /// Sum of the lengths of the values, in bytes.
    size: usize,
}

impl HeaderTable {
    /// Adds a line: a header that several lines set for a path has all their values. An error changes nothing.
    fn add(&mut self, path: &HeaderPath, name: &str, value: Option<String>) -> Result<(), String> {
        if self.line_count >= MAX_LINES {
            return Err(format!("more than {MAX_LINES} headers"));
        }
        let at = self.headers.iter().position(|header| header.name.eq_ignore_ascii_case(name));
        let at = at.unwrap_or(self.headers.len());
        if at >= MAX_NAMES {
            return Err(format!("more than {MAX_NAMES} different headers"));
        }
        let known = self.headers.get(at).map_or(&[][..], |header| &header.values);
        let mut changed: Vec<(HeaderPath, String)> =
            known.iter().filter(|(other, _)| path.contains(other)).cloned().collect();
        if !known.iter().any(|(other, _)| other == path) {
            let before = self.lines.get(at).into_iter().flatten().filter(|(other, _)| other.contains(path));
            let mut joined = String::new();
            before.for_each(|(_, value)| join_value(&mut joined, value.as_deref()));
            changed.push((path.clone(), joined));
        }
        for (_, joined) in &mut changed {
            join_value(joined, value.as_deref());
        }
        if changed.iter().any(|(_, joined)| quote_nginx(joined).len() > MAX_VALUE) {
            return Err(format!("with the other values of {} it is too long", quote_word(name)));
        }
        let size = self.size + changed.iter().map(|(_, joined)| joined.len()).sum::<usize>();
        let replaced = known.iter().filter(|(other, _)| path.contains(other));
        let size = size - replaced.map(|(_, joined)| joined.len()).sum::<usize>();
        if size > MAX_SIZE {
            return Err(format!("the headers of all paths are longer than {} KiB", MAX_SIZE >> 10));
        }
        if at == self.headers.len() {
            self.headers.push(SiteHeader { name: name.to_owned(), values: Vec::new() });
            self.lines.push(Vec::new());
        }
        self.headers[at].values.retain(|(other, _)| !path.contains(other));
        self.headers[at].values.extend(changed);
        self.lines[at].push((path.clone(), value));
        self.line_count += 1;
        self.size = size;
        Ok(())
    }

    /// Returns the headers; nginx takes the first path that matches.
    fn finish(mut self) -> Vec<SiteHeader> {
        for header in &mut self.headers {
            header.values.sort_by_key(|(path, _)| (path.is_prefix, std::cmp::Reverse(path.path.len())));
        }
        self.headers
    }
}

/// Adds a value to those of earlier lines; none takes them back.
fn join_value(joined: &mut String, value: Option<&str>) {
    match value {
        Some(value) if joined.is_empty() => joined.push_str(value),
        Some(value) => joined.extend([", ", value]),
        None => joined.clear(),
    }
}

/// Parses the text. Lines that nginx cannot follow are left out, with a warning.
pub(super) fn parse(text: &[u8], file: &str) -> (Vec<SiteHeader>, Vec<Diagnostic>) {
    let mut table = HeaderTable::default();
    let mut warnings = Vec::new();
    let mut path: Option<HeaderPath> = None;
    let mut paths = 0;
    for (at, line) in String::from_utf8_lossy(text).lines().enumerate() {
        let words = line.trim();
        if words.is_empty() || words.starts_with('#') {
            continue;
        }
        let parsed = if line.starts_with([' ', '\t']) {
            // The headers of a path that is left out are left out with it.
            let Some(path) = &path else { continue };
            parse_header(words).and_then(|(name, value)| table.add(path, &name, value))
        } else {
            paths += 1;
            let parsed = if paths > MAX_PATHS {
                Err(format!("more than {MAX_PATHS} paths"))
            } else {
                parse_path(words)
            };
            path = parsed.as_ref().ok().cloned();
            parsed.map(|_| ())
        };
        if let Err(message) = parsed {
            warnings
                .push(Diagnostic::error(file, at + 1, format!("the line is ignored: {message}")).warning());
        }
    }
    (table.finish(), warnings)
}

fn parse_path(text: &str) -> Result<HeaderPath, String> {
    let (path, is_prefix) = match text.strip_suffix('*') {
        Some(path) => (path, true),
        None => (text, false),
    };
    let Some(inner) = path.strip_prefix('/') else {
        return Err(format!(
            "{} does not begin with '/', and neither do its headers apply",
            quote_word(text)
        ));
    };
    if path.contains('*') || !is_plain_path(inner) || inner.split('/').any(|part| part.starts_with(':')) {
        return Err(format!("{}: only a '*' at the end is supported", quote_word(text)));
    }
    let Some(path) = normalize_path(path) else {
        return Err(format!("{} is not UTF-8", quote_word(text)));
    };
    Ok(HeaderPath { path, is_prefix })
}

/// Returns the path as nginx has it in `$uri`: decoded, without empty parts. `None` if it is not UTF-8.
fn normalize_path(path: &str) -> Option<String> {
    let mut bytes: Vec<u8> = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits =
            after.get(..2).filter(|digits| *first == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let code = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        let byte = code.unwrap_or(*first);
        rest = if code.is_some() { &after[2..] } else { after };
        if byte != b'/' || bytes.last() != Some(&b'/') {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn parse_header(text: &str) -> Result<(String, Option<String>), String> {
    let taken_back = text.strip_prefix("! ").map(str::trim);
    let (name, value) = match (taken_back, text.split_once(':')) {
        (Some(name), _) => (name, None),
        (None, Some((name, value))) => (name.trim(), Some(value.trim())),
        (None, None) => return Err("it is not 'Name: value'".to_owned()),
    };
    if name.is_empty()
        || name.len() > 100
        || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    {
        return Err(format!("{} is not the name of a header", quote_word(name)));
    }
    let lower = name.to_ascii_lowercase();
    if lower == "basic-auth" {
        return Err("the paths are not protected; NGINX_BASIC_AUTH protects the whole site".to_owned());
    }
    if lower == "strict-transport-security" {
        return Err("NGINX_HSTS sets this header".to_owned());
    }
    if NGINX_OWN.contains(&lower.as_str()) {
        return Err(format!("nginx sets {} itself", quote_word(name)));
    }
    let is_plain = |value: &str| {
        !value.is_empty()
            && value.len() <= 2000
            && value.chars().all(|c| c == ' ' || c.is_ascii_graphic() && c != '$')
    };
    if value.is_some_and(|value| !is_plain(value)) {
        return Err(format!(
            "the value of {} is empty, too long, or has '$' or characters that are not ASCII",
            quote_word(name)
        ));
    }
    Ok((name.to_owned(), value.map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed_or_left_out_with_a_warning() {
        let text = "# all\n/*\n  X-Frame-Options: DENY\n  Link: </a.css>; rel=preload\n\tlink: </b.css>\n/api/*\n  ! X-Frame-Options\n  \
            Access-Control-Allow-Origin: *\n/api/x\n  X-Frame-Options: SAMEORIGIN\n\n\
            https://a.test/*\n  X-Left: out\n/:id\n  X-Left: out\n/a/*/b\n/x\n  Basic-Auth: a:b\n  nothing\n  Content-Length: 1\n  \
            X-Var: $document_root\n  Strict-Transport-Security: max-age=1\n  Bad Name: x\n  X-Empty:\n";
        let (headers, warnings) = parse(text.as_bytes(), FILE);
        let lines: Vec<String> = headers
            .iter()
            .flat_map(|header| header.values.iter().map(move |(path, value)| (header, path, value)))
            .map(|(header, path, value)| format!("{} {} {}: {value}", path.path, path.is_prefix, header.name))
            .collect();
        assert_eq!(
            lines,
            [
                "/api/x false X-Frame-Options: SAMEORIGIN",
                "/api/ true X-Frame-Options: ",
                "/ true X-Frame-Options: DENY",
                "/ true Link: </a.css>; rel=preload, </b.css>",
                "/api/ true Access-Control-Allow-Origin: *",
            ]
        );
        let numbers: Vec<usize> = warnings.iter().map(|warning| warning.line).collect();
        assert_eq!(numbers, [12, 14, 16, 18, 19, 20, 21, 22, 23, 24]);
    }

    #[test]
    fn a_file_has_a_limit() {
        let lines: Vec<String> =
            (0..1000).map(|number| format!("/{number}/*\n  X-{}: 1", number % 40)).collect();
        let (headers, warnings) = parse(lines.join("\n").as_bytes(), FILE);
        // Of the first 100 paths, those of eight names, three or two times.
        assert_eq!((headers.len(), warnings.len()), (MAX_NAMES, 1000 - MAX_PATHS + 16));
    }
}
