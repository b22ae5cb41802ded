//! Options from a file: `--profile`, and `--print-profile`, which writes one. The ready ones are those that piku itself
//! uses, so that what an operator tries with `piku-chroot --profile run` is what piku does.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::libc::O_NONBLOCK;
use piku_report::user_error::UserError;

use crate::SETUP;
use crate::options::{BindPair, ChrootOptions};
use crate::plan::JailPlan;
use crate::shown::shown;

/// The largest file that is read. What aliases make of one cannot grow large from that.
const LARGEST: u64 = 32 * 1024;

/// The profiles that piku uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltinProfile {
    /// A step of a build.
    Build,
    /// An app that runs.
    Run,
}

impl BuiltinProfile {
    const ALL: [Self; 2] = [Self::Build, Self::Run];

    /// As `--profile` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Run => "run",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Build => include_str!("profiles/build.yaml"),
            Self::Run => include_str!("profiles/run.yaml"),
        }
    }
}

/// Reads the one of this name, or the file when there is a slash in it.
pub(crate) fn read(name: &OsStr) -> Result<ChrootOptions> {
    if let Some(ready) = BuiltinProfile::ALL.into_iter().find(|ready| name == ready.name()) {
        return parse(name, ready.text());
    }
    if !name.as_bytes().contains(&b'/') {
        let name = shown(Path::new(name));
        let failure = UserError::new(format!("there is no profile {name}, only 'build' and 'run'"));
        return Err(failure
            .code(SETUP)
            .hint("a file is named with a slash in its path, as ./profile.yaml")
            .into());
    }
    let bytes = content(name).with_context(|| format!("cannot read {}", shown(Path::new(name))))?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(name, text),
        Err(err) => Err(wrong(name, line(&bytes[..err.valid_up_to()]), "this is not UTF-8")),
    }
}

/// A regular file that is not too large: a fifo would never end, and neither would a disk.
fn content(name: &OsStr) -> Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(name)?;
    let metadata = file.metadata()?;
    ensure!(!metadata.is_dir(), "it is a folder");
    ensure!(metadata.is_file(), "it is no regular file");
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    let read = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    ensure!(read <= LARGEST, "it is larger than the {LARGEST} bytes that a profile may have");
    Ok(bytes)
}

fn parse(name: &OsStr, text: &str) -> Result<ChrootOptions> {
    if is_empty(text) {
        return Err(wrong(name, 1, "there is nothing in it"));
    }
    let options: ChrootOptions = serde_yaml::from_str(text).map_err(|err| {
        let (line, said) = explain(&err, text);
        wrong(name, line, &said)
    })?;
    if options.root_from_host && options.root.is_some() {
        return Err(wrong(name, 1, "root and root_from_host exclude each other"));
    }
    Ok(options)
}

/// The line and the words of an error, without serde's own names for things.
fn explain(err: &serde_yaml::Error, text: &str) -> (usize, String) {
    const NAMES: [(&str, &str); 4] = [
        ("unknown field `", "unknown key `"),
        ("missing field `", "missing key `"),
        ("duplicate field `", "two keys `"),
        ("invalid type: unit value,", "there is no value,"),
    ];
    let (line, column) = err.location().map_or((1, 1), |at| (at.line(), at.column()));
    let said = err.to_string();
    let said = said.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&said);
    // Of two keys of the whole file the first line is told; the second key is where to look.
    let key = said.strip_prefix("duplicate field `").and_then(|rest| rest.strip_suffix('`'));
    let again = key.and_then(|key| {
        let here = |line: &str| line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(':'));
        text.lines().enumerate().filter(|(_, line)| here(line)).last()
    });
    let said = NAMES.iter().fold(said.to_owned(), |said, (serde, ours)| said.replace(serde, ours));
    (again.map_or(line, |(index, _)| index + 1), said)
}

/// Nothing but comments and blanks.
fn is_empty(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "---")
}

/// The number of the line that follows this.
fn line(before: &[u8]) -> usize {
    before.split(|byte| *byte == b'\n').count()
}

/// What is wrong with a profile, where, and where it is said how it should be.
fn wrong(name: &OsStr, line: usize, what: &str) -> anyhow::Error {
    let failure = UserError::new(format!("{}:{line}: {what}", shown(Path::new(name))));
    failure.code(SETUP).hint("'piku-chroot --help' shows every key of a profile with an example").into()
}

/// Writes what would be done with these options as a profile; `plan` is what they come to.
pub(crate) fn print(options: ChrootOptions, plan: &JailPlan) -> Result<()> {
    let text = serde_yaml::to_string(&explicit(options, plan)?).context("cannot write it as YAML")?;
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => Err(err).context("cannot write the profile"),
        _ => Ok(()),
    }
}

/// The same options as they read from any folder, with the defaults of single values.
fn explicit(options: ChrootOptions, plan: &JailPlan) -> Result<ChrootOptions> {
    let pairs = |pairs: Vec<BindPair>| -> io::Result<Vec<BindPair>> {
        pairs.into_iter().map(|pair| Ok(BindPair { src: std::path::absolute(pair.src)?, ..pair })).collect()
    };
    let path = |path: Option<PathBuf>| path.map(std::path::absolute).transpose();
    let explicit = || -> io::Result<ChrootOptions> {
        Ok(ChrootOptions {
            root: path(options.root)?,
            app: path(options.app)?,
            data: path(options.data)?,
            bind: pairs(options.bind)?,
            ro: pairs(options.ro)?,
            net: Some(plan.net),
            hostname: Some(plan.hostname.clone()),
            chdir: Some(plan.chdir.clone()),
            uid_registry: path(options.uid_registry)?,
            ..options
        })
    };
    explicit().context("cannot make a path absolute")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::MANUAL;
    use crate::options::{NetworkOption, TmpfsMount};
    use proptest::prelude::*;
    use std::fmt::Write;

    fn said(text: &str) -> String {
        parse(OsStr::new("./p"), text).unwrap_err().to_string()
    }

    #[test]
    fn the_manual_shows_every_key() {
        let (_, example) = MANUAL.split_once("root_from_host exclude each other):\n").unwrap();
        let example = example.replace("    root: /", "    # ");
        let options = parse(OsStr::new("manual"), &example).unwrap();
        let unknown = said("x: 1");
        let (_, keys) = unknown.split_once("expected one of ").unwrap();
        for key in keys.split(", ").map(|key| key.trim_matches('`')).filter(|key| *key != "root") {
            assert!(example.contains(&format!("    {key}: ")), "{key} is missing in the manual");
        }
        assert_eq!(options.tmpfs.len(), 2);
        assert_eq!(options.env[1], ("PORT".into(), "8080".into()));
    }

    #[test]
    fn the_ready_ones_can_be_read() {
        for ready in BuiltinProfile::ALL {
            assert!(read(ready.name().as_ref()).unwrap().root_from_host, "{ready:?}");
        }
    }

    #[test]
    fn errors_say_line_key_and_what() {
        for (text, expected) in [
            ("", "'./p':1: there is nothing in it"),
            ("---\n# only this\n", "'./p':1: there is nothing in it"),
            ("strict: true\nap: /x", "'./p':2: unknown key `ap`, expected one of `root_from_host`"),
            ("strict: true\napp: x", "'./p':2: app: 'x' is a relative path"),
            ("app: /a\nnet: none\napp: /b", "'./p':3: two keys `app`"),
            ("bind:\n- src: /a\n  dst: b", "'./p':3: bind[0].dst: 'b' is a relative path"),
            ("bind:\n- src: /a", "'./p':2: bind[0]: missing key `dst`"),
            (
                "bind: [/a:/b]",
                "'./p':1: bind[0]: invalid type: string \"/a:/b\", expected the keys src and dst",
            ),
            ("env:\n  A: 1", "'./p':2: env.A: invalid type: integer `1`, expected text"),
            ("env:\n  A: x\n  A: y", "'./p':3: env: there are two variables 'A'"),
            ("tmpfs: [{dst: /x, size: 5q}]", "'./p':1: tmpfs[0].size: bad size '5q'"),
            ("app:", "'./p':1: app: there is no value, expected an absolute path"),
            ("limit: {memory: lots}", "'./p':1: limit.memory: 'lots' is no amount of memory"),
            ("limit: memory=64m", "'./p':1: limit: invalid type: string"),
            ("net: bridge", "'./p':1: net: there is no network 'bridge'"),
            ("strict: yes", "'./p':1: strict: invalid type: string \"yes\", expected a boolean"),
            ("app: \"/a\\0b\"", "'./p':1: app: there is a NUL in it"),
            ("die_with: 1", "'./p':1: unknown key `die_with`"),
            ("root: /\nroot_from_host: true", "'./p':1: root and root_from_host exclude each other"),
        ] {
            assert!(said(text).starts_with(expected), "{text:?}: {}", said(text));
        }
    }

    /// Aliases inside aliases are of no type that a profile has, and a list of aliases is bounded by the file's size.
    #[test]
    fn a_bomb_fizzles() {
        let mut bomb = "x0: &x0 [y,y,y,y,y,y,y,y,y]\n".to_owned();
        for level in 1..20 {
            let below = format!("*x{},", level - 1);
            writeln!(bomb, "x{level}: &x{level} [{}]", below.repeat(9)).unwrap();
        }
        said(&bomb);
        said(&bomb.replace("x19:", "keep_env:").replace("x18:", "bind:"));
        said(&format!("keep_env: {}", "[".repeat(10_000)));
        let largest = usize::try_from(LARGEST).unwrap();
        let name = "x".repeat(largest / 2);
        let aliases = "*x,".repeat(largest / 6 - 10);
        assert_eq!(
            parse(OsStr::new("p"), &format!("keep_env: [&x {name},{aliases}]")).unwrap().keep_env.len(),
            largest / 6 - 9
        );
    }

    fn text() -> impl Strategy<Value = String> {
        let odd = prop::sample::select(vec![
            "",
            "yes",
            "~",
            "null",
            "1e3",
            "0x10",
            "010",
            "- a",
            "&a",
            "*a",
            "!x",
            "# x",
            "a: b",
            "'",
            "\"",
            "|",
            "x\n",
            "\n",
            "\u{85}",
            "\u{feff}",
            "\u{1b}[1m",
            " a ",
            "true",
            ".inf",
            "=",
            "<<",
            "---",
            "...",
            "%x",
            "@",
            "`",
        ]);
        prop_oneof![odd.prop_map(str::to_owned), "[^\0]{0,12}"]
    }

    fn path() -> impl Strategy<Value = PathBuf> {
        text().prop_map(|text| PathBuf::from(format!("/{text}")))
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_again(
            bind in prop::collection::vec((path(), path()), 0..3),
            tmpfs in prop::collection::vec((path(), prop::option::of(1_u64..9999)), 0..3),
            app in prop::option::of(path()),
            env in prop::collection::btree_map("[^=\0]{1,9}", text(), 0..4),
            keep_env in prop::collection::vec(text(), 0..3),
            hostname in prop::option::of(text()),
            strict: bool,
        ) {
            let memory = |(dst, size): (PathBuf, Option<u64>)| {
                TmpfsMount { dst, size: size.map(|size| size.to_string().parse().unwrap()) }
            };
            let options = ChrootOptions {
                bind: bind.into_iter().map(|(src, dst)| BindPair { src, dst }).collect(),
                tmpfs: tmpfs.into_iter().map(memory).collect(),
                app,
                net: strict.then_some(NetworkOption::None),
                env: env.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
                keep_env: keep_env.into_iter().map(Into::into).collect(),
                hostname: hostname.map(Into::into),
                strict,
                ..ChrootOptions::default()
            };
            let written = serde_yaml::to_string(&options).unwrap();
            prop_assert_eq!(parse(OsStr::new("p"), &written).unwrap(), options, "{}", written);
        }
    }
}
