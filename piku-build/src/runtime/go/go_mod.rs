//! go.mod and go.work: the module path, the requested Go, and Heroku's comments.

use std::path::PathBuf;

/// The content of go.mod or go.work that a plan needs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct GoModule {
    /// The module's path, `example.org/shop/v2`; empty in go.work.
    pub(super) path: String,
    /// Version in the line `go 1.22`.
    pub(super) go: Option<String>,
    /// Version in the line `toolchain go1.22.3`, without `go`.
    pub(super) toolchain: Option<String>,
    /// Heroku's `// +heroku goVersion go1.22`, without `go`; may be a range.
    pub(super) heroku_go: Option<String>,
    /// Heroku's `// +heroku install ./cmd/... .`
    pub(super) heroku_install: Vec<String>,
    /// Folders in the `use` lines of go.work.
    pub(super) uses: Vec<PathBuf>,
}

impl GoModule {
    /// Parses the text. Go itself reports what is wrong in it.
    pub(super) fn parse(text: &str) -> Self {
        let mut module = Self::default();
        let mut block = String::new();
        for line in text.lines().map(str::trim) {
            if let Some(comment) = line.strip_prefix("//") {
                module.read_comment(comment.trim());
                continue;
            }
            let line = line.split("//").next().unwrap_or_default().trim();
            if line == ")" {
                block.clear();
            } else if let Some(verb) = line.strip_suffix('(') {
                verb.trim().clone_into(&mut block);
            } else if block.is_empty() {
                let (verb, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
                module.read_line(verb, unquoted(rest.trim()));
            } else {
                module.read_line(&block, unquoted(line));
            }
        }
        module
    }

    fn read_line(&mut self, verb: &str, rest: &str) {
        match verb {
            "module" => rest.clone_into(&mut self.path),
            "go" => self.go = Some(rest.to_owned()),
            "toolchain" => self.toolchain = rest.strip_prefix("go").map(str::to_owned),
            "use" => self.uses.push(rest.into()),
            _ => {}
        }
    }

    fn read_comment(&mut self, text: &str) {
        let Some(rest) = text.strip_prefix("+heroku ") else { return };
        let (verb, value) = rest.trim().split_once([' ', '\t']).unwrap_or((rest.trim(), ""));
        let value = value.trim();
        match verb {
            "goVersion" if !value.is_empty() => {
                self.heroku_go = Some(value.trim_start_matches("go").to_owned());
            }
            "install" => self.heroku_install = value.split_whitespace().map(str::to_owned).collect(),
            _ => {}
        }
    }

    /// Returns Go's name for the program at the top of the module.
    pub(super) fn program_name(&self) -> &str {
        program_name(&self.path)
    }
}

/// Returns Go's name for the program with an import path: its last part without a `v2`.
pub(super) fn program_name(import: &str) -> &str {
    let mut parts = import.rsplit('/');
    let last = parts.next().unwrap_or_default();
    let is_version = |part: &str| {
        part.strip_prefix('v').is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if is_version(last) { parts.next().unwrap_or(last) } else { last }
}

fn unquoted(text: &str) -> &str {
    text.trim_matches(['"', '`'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_mod_says() {
        let module = GoModule::parse(
            "// +heroku goVersion go1.21\n// +heroku install ./cmd/... ./tool\nmodule example.org/shop/v2 // a shop\n\n\
             go 1.22.1\n\ntoolchain go1.23.4\n\nrequire (\n\tgo.uber.org/zap v1.0.0\n)\nrequire module.example/x v1.0.0\n",
        );
        assert_eq!((module.path.as_str(), module.program_name()), ("example.org/shop/v2", "shop"));
        assert_eq!((module.go.as_deref(), module.toolchain.as_deref()), (Some("1.22.1"), Some("1.23.4")));
        assert_eq!(module.heroku_go.as_deref(), Some("1.21"));
        assert_eq!(module.heroku_install, ["./cmd/...", "./tool"]);
        assert_eq!(GoModule::parse("module \"hello\"\ntoolchain default\n").program_name(), "hello");
        assert_eq!(GoModule::parse("toolchain default\n").toolchain, None);
        let ranged = GoModule::parse("//  +heroku goVersion  >=1.20, <1.23 \n").heroku_go;
        assert_eq!(ranged.as_deref(), Some(">=1.20, <1.23"));
    }

    #[test]
    fn what_go_work_uses() {
        let work = GoModule::parse("go 1.21\nuse ./api\nuse (\n\t./web // the site\n\t.\n)\n");
        assert_eq!(work.uses, ["./api", "./web", "."].map(PathBuf::from));
    }
}
