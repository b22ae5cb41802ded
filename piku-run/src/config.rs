//! The operator's configuration of an app: what `config set` stored. Exact, one JSON object of names and texts, readable by
//! nobody else, and whole or the old one after a power cut.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::{Context, bail};
use indexmap::IndexMap;
use piku_procfile::durable;
use piku_procfile::env::{self, Env};
use piku_procfile::failure::Failure;
use piku_procfile::procfile::Options;
use rustix::fs::{FlockOperation, flock};

use piku_procfile::output::{self, Format};

/// Linux takes no longer `NAME=value` in a program's environment, its NUL included (`MAX_ARG_STRLEN` with 4 KiB pages).
const MAX_STRING: usize = 128 * 1024;

/// Names and values, in the order in which they were first set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config(pub IndexMap<String, String>);

impl Config {
    /// Reads the file; one that is not there is empty.
    ///
    /// # Errors
    /// When it cannot be read or is not an object of names and texts. It is never taken for empty then: the next `set`
    /// would erase what it holds.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(err) => return Err(err).with_context(|| format!("cannot read '{}'", path.display())),
        };
        let config = Self(
            serde_json::from_slice(&text)
                .with_context(|| format!("bad configuration in '{}'", path.display()))?,
        );
        for (name, value) in &config.0 {
            check(name, value).with_context(|| format!("bad configuration in '{}'", path.display()))?;
        }
        Ok(config)
    }

    /// Replaces the file, mode 0600.
    ///
    /// # Errors
    /// When it cannot be written; the old one then stays.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec_pretty(&self.0).context("cannot make JSON of it")?;
        text.push(b'\n');
        durable::write(path, &text, 0o600).with_context(|| format!("cannot write '{}'", path.display()))
    }

    /// A value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets a value; says whether it is another than before.
    ///
    /// # Errors
    /// When no environment can hold it: a bad name, a NUL, or more than 128 KiB.
    pub fn set(&mut self, name: &str, value: &str) -> anyhow::Result<bool> {
        check(name, value)?;
        Ok(self.0.insert(name.to_owned(), value.to_owned()).is_none_or(|old| old != value))
    }

    /// Removes a name; says whether it was there.
    pub fn unset(&mut self, name: &str) -> bool {
        self.0.shift_remove(name).is_some()
    }

    /// Sets all that a text in the ENV format says, or nothing when one of its lines is bad. Returns the names whose values
    /// are new, and the parser's warnings.
    ///
    /// # Errors
    /// With every bad line.
    pub fn import(&mut self, text: &[u8]) -> anyhow::Result<(Vec<String>, Vec<String>)> {
        let env = Env::parse(text, &IndexMap::new(), Options::default())?;
        let mut imported = self.clone();
        let mut changed = Vec::new();
        for (name, value) in &env.vars {
            if imported.set(name, value)? {
                changed.push(name.clone());
            }
        }
        *self = imported;
        Ok((changed, env.warnings.iter().map(ToString::to_string).collect()))
    }
}

/// Whether an environment can hold it.
fn check(name: &str, value: &str) -> anyhow::Result<()> {
    if !env::is_name(name) {
        let failure = Failure::new(format!("bad name {name:?}"));
        return Err(failure
            .hint("a name is made of A-Z, a-z, 0-9 and '_' and does not begin with a digit")
            .into());
    }
    if value.contains('\0') {
        bail!("the value of {name} holds a NUL byte, which no environment can");
    }
    if name.len() + value.len() + 2 > MAX_STRING {
        let failure =
            Failure::new(format!("the value of {name} is longer than the 128 KiB that Linux takes"));
        return Err(failure.hint("put it into a file below DATA_DIR").into());
    }
    Ok(())
}

/// What `config` was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Print all.
    List(Format),
    /// Print one value as it is, and a newline.
    Get(String),
    /// Set values, all or none.
    Set(Vec<(String, String)>),
    /// Remove names; one that is not set is no error.
    Unset(Vec<String>),
    /// Set what a text in the ENV format says.
    Import(Vec<u8>),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Done {
    /// For stdout.
    pub output: String,
    /// The names whose values are not what they were; workers know nothing of it until they are started again.
    pub changed: Vec<String>,
    /// For stderr.
    pub warnings: Vec<String>,
}

/// Does it to the file. Two at the same time wait for each other.
///
/// # Errors
/// When the file or its folder cannot be used, a name or value is bad, or a name to get is not set.
pub fn run(path: &Path, action: Action) -> anyhow::Result<Done> {
    let mut done = Done::default();
    match action {
        Action::List(format) => {
            let config = Config::read(path)?;
            let text = || Env { vars: config.0.clone(), ..Env::default() }.to_text();
            done.output = output::render(format, &config.0, text)?;
        }
        Action::Get(name) => match Config::read(path)?.get(&name) {
            Some(value) => done.output = format!("{value}\n"),
            None => return Err(Failure::new(format!("{name} is not set")).into()),
        },
        Action::Set(pairs) => {
            done.changed = change(path, |config| {
                let mut changed = Vec::new();
                for (name, value) in &pairs {
                    if config.set(name, value)? && !changed.contains(name) {
                        changed.push(name.clone());
                    }
                }
                Ok(changed)
            })?;
        }
        Action::Unset(names) => {
            done.changed =
                change(path, |config| Ok(names.into_iter().filter(|name| config.unset(name)).collect()))?;
        }
        Action::Import(text) => {
            done.changed = change(path, |config| {
                let (changed, warnings) = config.import(&text)?;
                done.warnings = warnings;
                Ok(changed)
            })?;
        }
    }
    Ok(done)
}

/// Changes the file under a lock; it is written only when a name changed.
fn change(
    path: &Path,
    edit: impl FnOnce(&mut Config) -> anyhow::Result<Vec<String>>,
) -> anyhow::Result<Vec<String>> {
    // The folder is locked, as the file itself is replaced by each change; the kernel unlocks it with the descriptor.
    let folder = path.parent().unwrap_or(Path::new("."));
    let locked = File::open(folder).with_context(|| format!("cannot open '{}'", folder.display()))?;
    flock(&locked, FlockOperation::LockExclusive)
        .with_context(|| format!("cannot lock '{}'", folder.display()))?;
    let mut config = Config::read(path)?;
    let changed = edit(&mut config)?;
    if !changed.is_empty() {
        config.write(path)?;
    }
    Ok(changed)
}

/// Takes `NAME=value` of a command line apart; the value is everything behind the first `=`.
///
/// # Errors
/// When there is no `=`.
pub fn assignment(text: &str) -> anyhow::Result<(String, String)> {
    let Some((name, value)) = text.split_once('=') else {
        // The text is not repeated: it may be a secret that lost its name.
        return Err(Failure::new("expected NAME=value").hint("such as DEBUG=1").into());
    };
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn set(path: &Path, pairs: &[(&str, &str)]) -> anyhow::Result<Vec<String>> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        run(path, Action::Set(pairs)).map(|done| done.changed)
    }

    #[test]
    fn any_value_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let all: String = (1..=0x2_ffff).filter_map(char::from_u32).collect();
        let small: String = all.chars().take(30_000).collect();
        let values =
            ["", " a  b ", "it's \"q\" $HOME `x` $(y) \\n", "two\nlines\r\n", "{\"k\": [1]}", "=a=b", &small];
        for (number, value) in values.iter().enumerate() {
            set(&path, &[(&format!("V{number}"), value)]).unwrap();
        }
        for (number, value) in values.iter().enumerate() {
            let got = run(&path, Action::Get(format!("V{number}"))).unwrap().output;
            assert_eq!(got, format!("{value}\n"));
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let json = run(&path, Action::List(Format::Json)).unwrap().output;
        let listed: IndexMap<String, String> = serde_json::from_str(&json).unwrap();
        assert!(listed.values().eq(values.iter()));
        // The text form is what `import` reads.
        let text = run(&path, Action::List(Format::Text)).unwrap().output;
        let mut imported = Config::default();
        imported.import(text.as_bytes()).unwrap();
        assert_eq!(imported.get("V2"), Some(values[2]));
    }

    #[test]
    fn a_bad_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        set(&path, &[("A", "1")]).unwrap();
        let before = fs::read(&path).unwrap();
        for bad in [("1X", "v"), ("", "v"), ("A-B", "v"), ("B", "a\0b"), ("B", &"x".repeat(MAX_STRING))] {
            assert!(set(&path, &[("A", "2"), bad]).is_err(), "{:?}", bad.0);
        }
        assert!(run(&path, Action::Import(b"A=2\nB: 3\n".to_vec())).is_err());
        assert_eq!(fs::read(&path).unwrap(), before);
        // The longest one that Linux takes does reach a program.
        let longest = "x".repeat(MAX_STRING - 3);
        set(&path, &[("L", &longest)]).unwrap();
        let mut command = std::process::Command::new("sh");
        let out =
            command.args(["-c", "printf %s \"${#L}\""]).env_clear().env("L", &longest).output().unwrap();
        assert_eq!(out.stdout, longest.len().to_string().into_bytes());
    }

    #[test]
    fn what_changed_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        assert_eq!(set(&path, &[("A", "1"), ("B", "2")]).unwrap(), ["A", "B"]);
        assert_eq!(set(&path, &[("A", "1"), ("B", "3")]).unwrap(), ["B"]);
        assert_eq!(set(&path, &[("A", "1")]).unwrap(), [""; 0]);
        let done = run(&path, Action::Import(b"C=\"x y\" # c\nB=3\n".to_vec())).unwrap();
        assert_eq!(done.changed, ["C"]);
        let unset = Action::Unset(vec!["A".to_owned(), "NONE".to_owned()]);
        assert_eq!(run(&path, unset).unwrap().changed, ["A"]);
        assert_eq!(run(&path, Action::List(Format::Text)).unwrap().output, "B=3\nC='x y'\n");
        let err = run(&path, Action::Get("A".to_owned())).unwrap_err();
        assert_eq!(format!("{err:#}"), "A is not set");
        assert_eq!(assignment("A=b=c").unwrap(), ("A".to_owned(), "b=c".to_owned()));
        assert_eq!(format!("{:#}", assignment("s3cret").unwrap_err()), "expected NAME=value");
    }

    #[test]
    fn a_broken_file_is_never_taken_for_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        for broken in ["", "{", "[]", "{\"A\": 1}", "{\"A-B\": \"x\"}", "{\"A\": \"\\u0000\"}"] {
            fs::write(&path, broken).unwrap();
            assert!(set(&path, &[("A", "1")]).is_err(), "{broken:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), broken);
        }
    }

    #[test]
    fn changes_at_the_same_time_all_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    for round in 0..5 {
                        set(path, &[(&format!("T{thread}_{round}"), "x")]).unwrap();
                    }
                });
            }
        });
        assert_eq!(Config::read(&path).unwrap().0.len(), 40);
    }
}
