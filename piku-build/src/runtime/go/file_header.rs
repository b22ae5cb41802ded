//! The header of a Go file: comments, the build constraint, the package clause. Parsed as by Go's package
//! `go/build`.

/// The longest constraint that is evaluated, in bytes: parentheses recurse.
const LONGEST_CONSTRAINT: usize = 1000;

/// The header of a Go file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FileHeader<'a> {
    /// Name in the package clause.
    pub(super) package: Option<&'a str>,
    /// The expression of `//go:build`, or the older `// +build` lines as such an expression.
    pub(super) constraint: Option<String>,
}

impl<'a> FileHeader<'a> {
    /// Parses the text of a file.
    pub(super) fn parse(text: &'a str) -> Self {
        // Go accepts a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let constraint = find_go_build(text).or_else(|| find_plus_build(text));
        Self {
            package: package_name(text),
            constraint: constraint.filter(|found| found.len() <= LONGEST_CONSTRAINT),
        }
    }
}

/// Returns the name in the package clause.
fn package_name(text: &str) -> Option<&str> {
    let rest = skip_comments(text)?.strip_prefix("package")?;
    // `package/* so */main` is Go as well; `packagemain` is not.
    if rest.starts_with(is_letter) {
        return None;
    }
    let rest = skip_comments(rest)?;
    let name = &rest[..rest.find(|letter| !is_letter(letter)).unwrap_or(rest.len())];
    (!name.is_empty()).then_some(name)
}

fn is_letter(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Returns the text from its first word on; `None` if a comment has no end.
fn skip_comments(mut text: &str) -> Option<&str> {
    loop {
        text = text.trim_start();
        if let Some(rest) = text.strip_prefix("//") {
            text = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if let Some(rest) = text.strip_prefix("/*") {
            text = rest.split_once("*/")?.1;
        } else {
            return Some(text);
        }
    }
}

/// Returns the expression of the first `//go:build` line with only comments before it.
fn find_go_build(text: &str) -> Option<String> {
    let mut in_block = false;
    for line in text.lines() {
        let mut line = line.trim();
        if let Some(rest) = line.strip_prefix("//go:build").filter(|_| !in_block) {
            if rest.is_empty() || rest.starts_with(char::is_whitespace) {
                return Some(rest.trim().to_owned());
            }
        }
        while !line.is_empty() {
            if in_block {
                let Some((_, rest)) = line.split_once("*/") else { break };
                in_block = false;
                line = rest.trim();
            } else if line.starts_with("//") {
                break;
            } else if let Some(rest) = line.strip_prefix("/*") {
                in_block = true;
                line = rest;
            } else {
                return None;
            }
        }
    }
    None
}

/// Returns the `// +build` lines as one expression. Only `//` comments may precede them, and an empty line
/// must follow.
fn find_plus_build(text: &str) -> Option<String> {
    let mut terms = Vec::new();
    let mut unconfirmed = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() {
            terms.append(&mut unconfirmed);
            continue;
        }
        let Some(comment) = line.strip_prefix("//") else { break };
        let Some(options) = comment.trim_start().strip_prefix("+build") else { continue };
        if options.is_empty() || options.starts_with(char::is_whitespace) {
            let options: Vec<_> =
                options.split_whitespace().map(|option| option.replace(',', " && ")).collect();
            unconfirmed.push(format!("({})", options.join(" || ")));
        }
    }
    (!terms.is_empty()).then(|| terms.join(" && "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constraint_stands_in_front_of_the_package() {
        for text in [
            "//go:build ignore\npackage main\n",
            "\u{feff}//go:build ignore\npackage main\n",
            "// Copyright\n\n//go:build ignore\n\npackage main\n",
            "/* licence */\n\n//go:build ignore\n\npackage main\n",
            "/* licence\n*/ /* and */ // more\n//go:build ignore\npackage main\n",
            "//go:build\tignore\r\npackage main\r\n",
            "  //go:build   ignore  \npackage main\n",
        ] {
            let header = FileHeader::parse(text);
            assert_eq!(
                (header.package, header.constraint.as_deref()),
                (Some("main"), Some("ignore")),
                "{text:?}"
            );
        }
        for text in [
            "package main\n\n//go:build ignore\n",
            "/*\n//go:build ignore\n*/\npackage main\n",
            "/* package x */ package main //go:build ignore\n",
            "//go:builder ignore\npackage/**/main\n",
            "// go:build ignore\npackage\tmain;import \"fmt\"\n",
            // Without an empty line after them, or after another comment, they are words.
            "// +build ignore\npackage main\n",
            "/* licence */\n// +build ignore\n\npackage main\n",
        ] {
            assert_eq!(
                FileHeader::parse(text),
                FileHeader { package: Some("main"), constraint: None },
                "{text:?}"
            );
        }
    }

    #[test]
    fn older_lines_are_one_expression() {
        let header = FileHeader::parse("// +build darwin linux,amd64\n//+build !arm\n\npackage main\n");
        assert_eq!(header.constraint.as_deref(), Some("(darwin || linux && amd64) && (!arm)"));
    }

    #[test]
    fn a_file_without_a_package_has_none() {
        for text in ["", "packagemain", "package", "/* package main", "x package main", "package \"main\""] {
            assert_eq!(FileHeader::parse(text).package, None, "{text:?}");
        }
    }
}
