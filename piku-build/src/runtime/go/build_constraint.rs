//! Build constraints: whether a Go file takes part in the build. A pattern such as `./...` skips excluded
//! files silently, so a plan that lists programs evaluates the constraints itself.

use super::file_header::FileHeader;

/// The tags that satisfy `//go:build` lines and suffixes of file names.
pub(super) struct BuildTags {
    /// Go's name of the architecture: `amd64`, `arm64`, `arm`.
    pub(super) architecture: String,
    /// The N of the Go 1.N that builds: the tags `go1.1` to `go1.N` hold.
    pub(super) minor: u32,
    /// The tags of `-tags` in `GOFLAGS`.
    pub(super) asked: Vec<String>,
}

/// The operating systems and architectures that Go recognises as suffixes of file names.
const SYSTEMS: [&str; 18] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasip1",
    "windows",
    "zos",
    "nacl",
];
const MACHINES: [&str; 24] = [
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "arm64",
    "arm64be",
    "armbe",
    "loong64",
    "mips",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "mipsle",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

impl BuildTags {
    /// Returns whether a file takes part in the build, by its name and by the constraint in its header.
    pub(super) fn includes_file(&self, name: &str, header: &FileHeader) -> bool {
        self.includes_name(name)
            && header.constraint.as_ref().is_none_or(|expression| self.evaluate(expression))
    }

    /// Evaluates the suffix of a file name: `x_linux.go`, `x_arm64.go`, `x_linux_arm64.go`.
    fn includes_name(&self, name: &str) -> bool {
        let stem = name.split('.').next().unwrap_or(name);
        let mut parts: Vec<&str> = stem.split('_').skip(1).collect();
        let mut takes = true;
        if parts.last().is_some_and(|last| MACHINES.contains(last)) {
            takes = parts.pop() == Some(&self.architecture);
        }
        if let Some(system) = parts.last().filter(|last| SYSTEMS.contains(last)) {
            takes &= *system == "linux";
        }
        takes
    }

    fn has_tag(&self, tag: &str) -> bool {
        let release = tag.strip_prefix("go1.").and_then(|minor| minor.parse::<u32>().ok());
        matches!(tag, "linux" | "unix" | "gc" | "cgo")
            || tag == self.architecture
            || tag.strip_suffix(".v1").is_some_and(|name| name == "amd64" && name == self.architecture)
            || release.is_some_and(|minor| minor <= self.minor)
            || self.asked.iter().any(|asked| asked == tag)
    }

    /// Evaluates an expression of tags with `!`, `&&`, `||` and parentheses. Go itself rejects malformed
    /// ones.
    fn evaluate(&self, text: &str) -> bool {
        let spaced = ["(", ")", "!", "&&", "||"]
            .iter()
            .fold(text.to_owned(), |text, sign| text.replace(sign, &format!(" {sign} ")));
        let mut words = spaced.split_whitespace().peekable();
        self.parse_or(&mut words)
    }

    fn parse_or<'a>(&self, words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> bool {
        let mut value = self.parse_and(words);
        while words.next_if_eq(&"||").is_some() {
            value |= self.parse_and(words);
        }
        value
    }

    fn parse_and<'a>(&self, words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> bool {
        let mut value = self.parse_not(words);
        while words.next_if_eq(&"&&").is_some() {
            value &= self.parse_not(words);
        }
        value
    }

    fn parse_not<'a>(&self, words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> bool {
        // A loop, so that a long row of signs does not exhaust the stack.
        let mut negated = false;
        while words.next_if_eq(&"!").is_some() {
            negated = !negated;
        }
        let value = match words.next() {
            Some("(") => {
                let value = self.parse_or(words);
                words.next_if_eq(&")");
                value
            }
            Some(tag) => self.has_tag(tag),
            None => true,
        };
        value != negated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags() -> BuildTags {
        BuildTags { architecture: "amd64".to_owned(), minor: 22, asked: vec!["web".to_owned()] }
    }

    #[test]
    fn names() {
        for name in [
            "main.go",
            "main_linux.go",
            "x_amd64.go",
            "x_linux_amd64.go",
            "linux.go",
            "windows.go",
            "a_web.go",
            "x.pb_windows.go",
            "x_windows_of.go",
        ] {
            assert!(tags().includes_name(name), "{name}");
        }
        for name in [
            "main_windows.go",
            "x_arm64.go",
            "x_linux_arm64.go",
            "x_darwin_amd64.go",
            "x_hurd.go",
            "x_s390.pb.go",
        ] {
            assert!(!tags().includes_name(name), "{name}");
        }
    }

    #[test]
    fn expressions() {
        for text in [
            "linux",
            "!windows",
            "web",
            "(darwin || linux) && !arm64",
            "go1.22",
            "amd64.v1 && !go1.23",
            "a || b || unix",
            "!(a && b)",
        ] {
            assert!(tags().evaluate(text), "{text}");
        }
        for text in ["ignore", "windows", "!linux", "linux && arm64", "!(a || linux)", "darwin||windows"] {
            assert!(!tags().evaluate(text), "{text}");
        }
    }
}
