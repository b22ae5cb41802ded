//! `_headers` of a site of files, as Cloudflare Pages and Netlify read it: a path on a line of its own, below it
//! indented lines `Name: value`.

use piku_report::diagnostic::{Diagnostic, quote_word};

use super::path_redirects::is_plain_path;

/// Name of the file, in the folder that is served at `/`.
pub(super) const FILE: &str = "_headers";

/// Maximum numbers of paths and of lines with headers.
const MAX_PATHS: usize = 100;
const MAX_LINES: usize = 500;
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
    /// The paths, the longest first, with the value; it is empty where a line takes the header back.
    pub(in crate::render::nginx) values: Vec<(HeaderPath, String)>,
}

/// A path of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::render::nginx) struct HeaderPath {
    /// URL path, without the `*` at its end.
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

/// A line below a path; no value takes the header back.
struct HeaderLine {
    path: HeaderPath,
    name: String,
    value: Option<String>,
}

/// Parses the text. Lines that nginx cannot follow are left out, with a warning.
pub(super) fn parse(text: &[u8], file: &str) -> (Vec<SiteHeader>, Vec<Diagnostic>) {
    let mut lines: Vec<HeaderLine> = Vec::new();
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
            if lines.len() >= MAX_LINES {
                Err(format!("more than {MAX_LINES} headers"))
            } else {
                parse_header(words)
                    .map(|(name, value)| lines.push(HeaderLine { path: path.clone(), name, value }))
            }
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
    (join_values(&lines), warnings)
}

/// Returns each header with the values of its paths: a header that several lines set for a path has all their values.
fn join_values(lines: &[HeaderLine]) -> Vec<SiteHeader> {
    let mut headers: Vec<SiteHeader> = Vec::new();
    for line in lines {
        let is_same = |name: &str| name.eq_ignore_ascii_case(&line.name);
        let at = headers.iter().position(|header| is_same(&header.name)).unwrap_or_else(|| {
            headers.push(SiteHeader { name: line.name.clone(), values: Vec::new() });
            headers.len() - 1
        });
        let values = &mut headers[at].values;
        if values.iter().any(|(path, _)| *path == line.path) {
            continue;
        }
        let mut joined: Vec<&str> = Vec::new();
        for other in lines.iter().filter(|other| is_same(&other.name) && other.path.contains(&line.path)) {
            match &other.value {
                Some(value) => joined.push(value),
                None => joined.clear(),
            }
        }
        values.push((line.path.clone(), joined.join(", ")));
    }
    for header in &mut headers {
        header.values.sort_by_key(|(path, _)| std::cmp::Reverse(path.path.len()));
    }
    headers
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
    Ok(HeaderPath { path: path.to_owned(), is_prefix })
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
        let lines: Vec<String> = (0..1000).map(|number| format!("/{number}/*\n  X-{number}: 1")).collect();
        let (headers, warnings) = parse(lines.join("\n").as_bytes(), FILE);
        assert_eq!((headers.len(), warnings.len()), (MAX_PATHS, 1000 - MAX_PATHS));
    }
}
