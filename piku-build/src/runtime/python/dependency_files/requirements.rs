//! `requirements.txt` and the files that it includes, read for what determines the layer: their contents,
//! local packages, and the names of packages. pip interprets the rest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use crate::app::app_source::{AppSource, decode, normalize_path};

pub(crate) const FILE: &str = "requirements.txt";
/// The largest number of included files.
const MAX_FILES: usize = 100;

#[derive(Debug, Default)]
pub(crate) struct PythonRequirements {
    /// Paths and contents of the files, in the order of inclusion.
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
    /// Folders and archives of the app that are installed.
    pub(crate) local: Vec<LocalRequirement>,
    /// Names of packages, normalised (PEP 503), with their version specifiers.
    pub(crate) packages: BTreeMap<String, String>,
    /// Hashes are given, so pip requires one for everything.
    pub(crate) hashes: bool,
    /// Anything is installed.
    pub(crate) any: bool,
    /// First place with something that other installers do not do as pip does: `requirements.txt:3:
    /// --find-links`.
    pub(crate) only_pip: Option<String>,
}

/// A folder or archive of the app that is installed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LocalRequirement {
    pub(crate) path: PathBuf,
    /// `-e`: the code is used in place.
    pub(crate) editable: bool,
    /// File that requires it.
    pub(crate) file: PathBuf,
    /// Line in that file, from 1.
    pub(crate) line: usize,
}

impl PythonRequirements {
    /// Reads the app's requirements, which may be empty.
    ///
    /// # Errors
    /// Fails if a file that is included is missing, or something leads out of the app.
    pub(crate) fn read(source: &AppSource) -> anyhow::Result<Self> {
        let mut all = Self::default();
        if source.has_entry(FILE) {
            all.read_file(source, Path::new(FILE), None)?;
        }
        Ok(all)
    }

    fn read_file(
        &mut self,
        source: &AppSource,
        path: &Path,
        from: Option<(&Path, usize)>,
    ) -> anyhow::Result<()> {
        if self.files.iter().any(|(known, _)| known == path) {
            return Ok(());
        }
        let place = from.map(|(file, line)| format!("{}:{line}", file.display()));
        let found = if self.files.len() == MAX_FILES {
            Err(anyhow!("too many files are included"))
        } else {
            source
                .read_bytes(path)
                .and_then(|text| text.ok_or_else(|| anyhow!("'{}' does not exist", path.display())))
        };
        let bytes = match place {
            Some(place) => found.context(place)?,
            None => found?,
        };
        let text = decode(&bytes);
        self.files.push((path.to_owned(), bytes));
        for (number, line) in logical_lines(&text) {
            self.read_line(source, path, number, &line)?;
        }
        Ok(())
    }

    fn read_line(
        &mut self,
        source: &AppSource,
        file: &Path,
        number: usize,
        line: &str,
    ) -> anyhow::Result<()> {
        let folder = file.parent().unwrap_or(Path::new(""));
        if line.contains("--hash") || line.contains("--require-hashes") {
            self.hashes = true;
        }
        let is_option = line.starts_with('-');
        if self.only_pip.is_none() {
            self.only_pip = find_pip_option(line).map(|what| format!("{}:{number}: {what}", file.display()));
        }
        self.any |=
            !is_option || ["-e", "--editable", "-r", "--requirement"].iter().any(|o| line.starts_with(o));
        for (long, short) in [("--requirement", "-r"), ("--constraint", "-c")] {
            if let Some(value) = option_value(line, long, short) {
                let value = first_word(value);
                if value.contains("://") || value.contains("${") {
                    return Ok(());
                }
                return self.read_file(source, &normalize_path(&folder.join(&value)), Some((file, number)));
            }
        }
        // Paths of packages are relative to the app's folder, in which pip runs; those of included files,
        // to the file that includes them.
        if let Some(value) = option_value(line, "--editable", "-e") {
            return self.add_local(source, file, number, &first_word(value), true);
        }
        if let Some(value) = option_value(line, "--find-links", "-f") {
            let value = first_word(value);
            let beside = folder.join(&value);
            let path = if source.has_path(&beside).is_ok_and(|found| found) { beside } else { value.into() };
            return self.add_local(source, file, number, &path.to_string_lossy(), false);
        }
        if is_option {
            return Ok(());
        }
        match package_name(line) {
            Some(name) => {
                self.packages.insert(name, specifier(line));
                match line.split_once('@') {
                    Some((_, url)) if url.trim().starts_with("file:") => {
                        self.add_local(source, file, number, url.trim(), false)
                    }
                    _ => Ok(()),
                }
            }
            None => self.add_local(source, file, number, line, false),
        }
    }

    /// Adds a local package. A URL needs no more than its text in the key.
    fn add_local(
        &mut self,
        source: &AppSource,
        file: &Path,
        line: usize,
        value: &str,
        editable: bool,
    ) -> anyhow::Result<()> {
        let mut value = value.split(" ;").next().unwrap_or_default().trim();
        if let Some(path) = value.strip_prefix("file:") {
            value = path.strip_prefix("//").unwrap_or(path);
            value = value.strip_prefix("/app/").unwrap_or(value);
        } else if value.contains("://") || value.starts_with("git+") {
            return Ok(());
        }
        // `./lib[extra]`, `./lib#egg=x`
        let value = value.split(['[', '#']).next().unwrap_or_default();
        if value.is_empty() || value.contains("${") {
            return Ok(());
        }
        let path = normalize_path(Path::new(value));
        let found = source.has_path(&path).with_context(|| format!("{}:{line}", file.display()))?;
        if found {
            self.local.push(LocalRequirement { path, editable, file: file.to_owned(), line });
        }
        // Otherwise pip reports the error.
        Ok(())
    }
}

/// Joins lines at trailing backslashes and removes comments and blank lines. Returns each with the number
/// of its first line.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (at, line) in text.lines().enumerate() {
        let (number, mut joined) = open.take().unwrap_or((at + 1, String::new()));
        if let (Some(front), false) = (line.strip_suffix('\\'), line.trim_start().starts_with('#')) {
            joined.push_str(front);
            open = Some((number, joined));
            continue;
        }
        joined.push_str(line);
        lines.push((number, joined));
    }
    lines.extend(open);
    lines
        .into_iter()
        .map(|(number, line)| (number, without_comment(&line).trim().to_owned()))
        .filter(|(_, line)| !line.is_empty())
        .collect()
}

/// Returns an option of a line that other installers do not have, or give another meaning: how indexes take
/// precedence, where an editable repository is kept, how an old package is built, and files that are not
/// here.
fn find_pip_option(line: &str) -> Option<&str> {
    let word = |at: usize| line[at..].split([' ', '\t', '=']).next();
    let files = [("--requirement", "-r"), ("--constraint", "-c"), ("--editable", "-e")];
    let value = files.iter().find_map(|(long, short)| option_value(line, long, short));
    if let Some(value) = value {
        let is_remote = value.contains("://") && !value.starts_with("file:") || value.contains('$');
        return if is_remote { word(0) } else { line.find(" --").and_then(|at| word(at + 1)) };
    }
    if line.starts_with('-') {
        return word(0).filter(|option| *option != "--require-hashes");
    }
    // uv does not check for which Pythons these are.
    if ["://", "file:", ".whl", ".tar.gz", ".zip"].iter().any(|part| line.contains(part)) {
        return Some("an archive or a URL");
    }
    let options = line.match_indices(" --").map(|(at, _)| at + 1);
    options.into_iter().filter_map(word).find(|option| *option != "--hash")
}

/// Removes a comment, which begins at a `#` at the start or after a blank.
fn without_comment(line: &str) -> &str {
    let begins = |at: &usize| *at == 0 || line[..*at].ends_with([' ', '\t']);
    let at = line.match_indices('#').map(|(at, _)| at).find(begins);
    at.map_or(line, |at| &line[..at])
}

/// Returns the value of an option in any form: `-r x`, `-rx`, `--requirement x`, `--requirement=x`.
fn option_value<'a>(line: &'a str, long: &str, short: &str) -> Option<&'a str> {
    if let Some(rest) = line.strip_prefix(long) {
        return rest.strip_prefix('=').or_else(|| rest.strip_prefix([' ', '\t'])).map(str::trim);
    }
    line.strip_prefix(short).filter(|rest| !rest.is_empty()).map(str::trim)
}

/// Splits an option's value as a shell does, like pip: without quotes and further options.
fn first_word(value: &str) -> String {
    let words = shell_words::split(value).unwrap_or_default();
    words.into_iter().next().unwrap_or_else(|| value.to_owned())
}

/// Returns the version specifier of a requirement: `>=3,<4` of `flask[async] >= 3, < 4 ; python_version >
/// "3"`.
pub(crate) fn specifier(line: &str) -> String {
    let line = line.split([';', '@']).next().unwrap_or_default().split(" --").next().unwrap_or_default();
    let from = line.find(|c| "=<>~!".contains(c)).unwrap_or(line.len());
    line[from..].chars().filter(|c| !c.is_whitespace() && *c != ')').collect()
}

/// Normalises the name of a package (PEP 503).
pub(crate) fn normalize_name(name: &str) -> String {
    let words: Vec<_> = name.split(['.', '_', '-']).filter(|word| !word.is_empty()).collect();
    words.join("-").to_ascii_lowercase()
}

/// Returns the normalised name of the package at the start of a line, if there is one.
pub(crate) fn package_name(line: &str) -> Option<String> {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let good = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !rest.starts_with(['/', ':', '+'])
        && ![".whl", ".gz", ".zip"].iter().any(|suffix| name.ends_with(suffix));
    good.then(|| normalize_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read(files: &[(&str, &[u8])]) -> anyhow::Result<PythonRequirements> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        PythonRequirements::read(&AppSource::read(dir.path(), None).unwrap())
    }

    #[test]
    fn follows_what_is_included_and_knows_names() {
        let all = read(&[
            (
                "requirements.txt",
                b"# c\n-r req/base.txt\nFlask[async]>=2 ; python_version > '3'  # web\n-c=x\n--constraint con.txt\n\
                  -r https://example.org/r.txt\n--index-url https://example.org/\nsix==1.0 \\\n  --hash=sha256:00\n",
            ),
            ("req/base.txt", b"-r../req/more.txt\r\nZope.Interface_x==1\r\n"),
            ("req/more.txt", b"-r base.txt\ngunicorn @ https://example.org/g.whl#sha1=0\n"),
            ("con.txt", b"six<2\n"),
            ("=x", b""),
        ])
        .unwrap();
        let files: Vec<_> = all.files.iter().map(|(path, _)| path.to_str().unwrap()).collect();
        assert_eq!(files, ["requirements.txt", "req/base.txt", "req/more.txt", "=x", "con.txt"]);
        let packages: Vec<_> =
            all.packages.iter().map(|(name, spec)| (name.as_str(), spec.as_str())).collect();
        let known = [("flask", ">=2"), ("gunicorn", ""), ("six", "==1.0"), ("zope-interface-x", "==1")];
        assert_eq!(packages, known);
        assert!(all.hashes && all.local.is_empty());
    }

    #[test]
    fn finds_what_pip_alone_does() {
        let only_pip = |text: &str| {
            let files = [("requirements.txt", text.as_bytes()), ("a.txt", b"six\n"), ("lib/setup.py", b"")];
            read(&files).unwrap().only_pip
        };
        for same in [
            "six==1.17.0 \\\n  --hash=sha256:00\n",
            "--require-hashes\n",
            "-r a.txt\n-c a.txt\n",
            "./lib\n-e ./lib\n-e lib[x]\n",
            "x[y]>=1 ; python_version > '3' # --pre\n",
        ] {
            assert_eq!(only_pip(same), None, "{same}");
        }
        for (other, what) in [
            ("six\n--extra-index-url https://u:p@x.org/\n", "2: --extra-index-url"),
            ("--find-links=wheels\n", "1: --find-links"),
            ("--pre\n", "1: --pre"),
            ("-f wheels\n", "1: -f"),
            ("-i https://x.org/\n", "1: -i"),
            ("-e git+https://x.org/a.git#egg=a\n", "1: -e"),
            ("-r https://x.org/r.txt\n", "1: -r"),
            ("-e ./lib --config-settings x=y\n", "1: --config-settings"),
            ("a --global-option=x\n", "1: --global-option"),
            ("a @ https://u:p@x.org/a.whl\n", "1: an archive or a URL"),
            ("./a-1.whl\n", "1: an archive or a URL"),
        ] {
            assert_eq!(only_pip(other), Some(format!("requirements.txt:{what}")), "{other}");
        }
    }

    #[test]
    fn finds_what_of_the_app_is_installed() {
        let all = read(&[
            (
                "requirements.txt",
                b"-e .\n./lib[x]\nlib/\nfile:./lib\nx @ file:///app/lib\n--find-links=wheels\nw/a-1.whl\n\
                  -e git+https://example.org/x.git#egg=x\nhttps://example.org/x.tar.gz\nno/such\n",
            ),
            ("lib/setup.py", b""),
            ("wheels/x", b""),
            ("w/a-1.whl", b""),
        ])
        .unwrap();
        let local: Vec<_> =
            all.local.iter().map(|local| (local.path.to_str().unwrap(), local.editable)).collect();
        let lib = ("lib", false);
        assert_eq!(local, [("", true), lib, lib, lib, lib, ("wheels", false), ("w/a-1.whl", false)]);
    }

    #[test]
    fn options_are_taken_apart_as_by_a_shell() {
        let all = read(&[
            ("requirements.txt", b"-r 'req/the base.txt'\n-e \"./lib\"\n-e . --config-settings x=y\n"),
            ("req/the base.txt", b"six\n"),
            ("lib/setup.py", b""),
        ])
        .unwrap();
        assert!(all.packages.contains_key("six"));
        let local: Vec<_> = all.local.iter().map(|local| local.path.to_str().unwrap()).collect();
        assert_eq!(local, ["lib", ""]);
    }

    #[test]
    fn what_is_missing_or_outside_is_named_with_its_line() {
        let err = format!("{:#}", read(&[("requirements.txt", b"six\n-r base.txt\n")]).unwrap_err());
        assert_eq!(err, "requirements.txt:2: 'base.txt' does not exist");
        let err = format!("{:#}", read(&[("requirements.txt", b"-r ../x.txt\n")]).unwrap_err());
        assert!(err.starts_with("requirements.txt:1: '../x.txt' leads out"), "{err}");
        let err = format!("{:#}", read(&[("requirements.txt", b"\n\n-e ../lib\n")]).unwrap_err());
        assert!(err.starts_with("requirements.txt:3: '../lib' leads out"), "{err}");
    }

    #[test]
    fn a_windows_shells_file_is_read() {
        let wide: Vec<u8> =
            [0xff, 0xfe].into_iter().chain("six==1\r\n".encode_utf16().flat_map(u16::to_le_bytes)).collect();
        assert!(read(&[("requirements.txt", &wide)]).unwrap().packages.contains_key("six"));
        assert!(!read(&[("requirements.txt", b"# nothing\n--no-binary :all:\n")]).unwrap().any);
    }
}
