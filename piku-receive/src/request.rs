//! What a client asks for. sshd hands over one string; it is split here, by the rules of a shell but by no shell, and
//! either is one of the few requests below or is refused in one line.

use std::ffi::OsStr;
use std::fmt;

use piku_procfile::name::{AppName, BadName, MAX_LEN};

use crate::release::Step;
use crate::talk::quoted;

/// One of git's programs at the server's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// `git push`.
    ReceivePack,
    /// `git fetch`, `git clone`, `git ls-remote`.
    UploadPack,
    /// `git archive --remote`.
    UploadArchive,
}

impl Service {
    /// The name after `git`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReceivePack => "receive-pack",
            Self::UploadPack => "upload-pack",
            Self::UploadArchive => "upload-archive",
        }
    }
}

/// A request that may be carried out, if the key's scope allows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A program of git's for one app.
    Git {
        /// Which one.
        service: Service,
        /// Whose repository.
        app: AppName,
    },
    /// A release from another machine.
    Release {
        /// What is asked.
        step: Step,
        /// For which app.
        app: AppName,
    },
    /// A verb of `scripts/piku`.
    Verb {
        /// One of [`VERBS`].
        verb: &'static str,
        /// The first of the arguments, where it is an app.
        app: Option<AppName>,
        /// All the arguments.
        args: Vec<String>,
    },
}

/// Why there is no request. `Display` is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    word: String,
    message: String,
}

impl Refusal {
    fn new(word: &str, message: impl Into<String>) -> Self {
        Self { word: word.to_owned(), message: message.into() }
    }

    /// The word that was asked for, as the client wrote it.
    #[must_use]
    pub fn word(&self) -> &str {
        &self.word
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

/// What stands behind a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// No app.
    Nothing,
    /// An app, or nothing for all of them.
    Perhaps,
    /// An app, always.
    App,
}

/// The verbs of `scripts/piku` that ssh reaches. Keys are not among them: who may come in is decided on the server.
const VERBS: [(&str, Takes); 22] = [
    ("apps", Takes::Nothing),
    ("help", Takes::Nothing),
    ("ps", Takes::Perhaps),
    ("gc", Takes::Perhaps),
    ("ps:scale", Takes::App),
    ("maintenance:on", Takes::App),
    ("maintenance:off", Takes::App),
    ("certs:renew", Takes::App),
    ("config", Takes::App),
    ("config:get", Takes::App),
    ("config:set", Takes::App),
    ("config:unset", Takes::App),
    ("config:import", Takes::App),
    ("logs", Takes::App),
    ("run", Takes::App),
    ("releases", Takes::App),
    ("rollback", Takes::App),
    ("restart", Takes::App),
    ("stop", Takes::App),
    ("destroy", Takes::App),
    ("deploy", Takes::App),
    ("cancel", Takes::App),
];

/// Reads `SSH_ORIGINAL_COMMAND`; `None` when there is nothing in it.
///
/// # Errors
/// When it is not one of the requests, in one line that says why.
pub fn parse(command: &OsStr) -> Result<Option<Request>, Refusal> {
    let Some(command) = command.to_str() else {
        return Err(Refusal::new("-", "the command is not UTF-8"));
    };
    let first = command.split_whitespace().next().unwrap_or_default();
    let Ok(mut words) = shell_words::split(command) else {
        let message = "the command's quotes do not match; ssh takes one level away, so quote twice: ssh … \"run app 'a b'\"";
        return Err(Refusal::new(first, message));
    };
    // `git receive-pack`, as a remote.NAME.receivepack with a blank makes it, is the same as `git-receive-pack`.
    if words.len() > 1 && words[0] == "git" {
        let joined = format!("git-{}", words[1]);
        words.splice(..2, [joined]);
    }
    let mut words = words.into_iter();
    let Some(verb) = words.next() else { return Ok(None) };
    let args: Vec<String> = words.collect();
    match verb.as_str() {
        "git-receive-pack" => git(Service::ReceivePack, &verb, &args),
        "git-upload-pack" => git(Service::UploadPack, &verb, &args),
        "git-upload-archive" => git(Service::UploadArchive, &verb, &args),
        "-h" | "--help" => Ok(Request::Verb { verb: "help", app: None, args: Vec::new() }),
        _ => match verb.strip_prefix("release:") {
            Some(step) => release(step, &verb, &args),
            None => verb_with(&verb, args),
        },
    }
    .map(Some)
}

fn git(service: Service, word: &str, args: &[String]) -> Result<Request, Refusal> {
    let [path] = args else {
        return Err(Refusal::new(word, format!("{word} takes one app's name, found {} words", args.len())));
    };
    let app = app_of_path(path).map_err(|err| Refusal::new(word, err.to_string()))?;
    Ok(Request::Git { service, app })
}

fn release(step: &str, word: &str, args: &[String]) -> Result<Request, Refusal> {
    let refuse = |why: &str| Refusal::new(word, format!("{word}: {why}"));
    let Some((name, rest)) = args.split_first() else { return Err(refuse("needs an app's name")) };
    let app = app(name).map_err(|err| refuse(&err.to_string()))?;
    let step = Step::parse(step, rest).map_err(|why| refuse(&why))?;
    Ok(Request::Release { step, app })
}

/// An app's name as people write it into a remote's address: `blog`, `blog.git`, `/blog`, `~/blog`, `blog/`.
fn app_of_path(path: &str) -> Result<AppName, BadName> {
    let name = path.strip_prefix("~/").or_else(|| path.strip_prefix('/')).unwrap_or(path);
    let name = name.strip_suffix('/').unwrap_or(name);
    app(name.strip_suffix(".git").unwrap_or(name))
}

/// The name; what is far too long is refused by its beginning, so that the refusal is not as long.
fn app(name: &str) -> Result<AppName, BadName> {
    let end = name.char_indices().nth(MAX_LEN + 1).map_or(name.len(), |(at, _)| at);
    name[..end].parse()
}

fn verb_with(word: &str, args: Vec<String>) -> Result<Request, Refusal> {
    let refuse = |message: String| Err(Refusal::new(word, message));
    let Some((verb, takes)) = VERBS.iter().find(|(verb, _)| *verb == word) else {
        return refuse(not_a_verb(word));
    };
    let app = match (takes, args.first()) {
        (Takes::Nothing, _) | (Takes::Perhaps, None) => None,
        (Takes::App, None) => return refuse(format!("{verb} needs an app's name")),
        (Takes::Perhaps, Some(option)) if option.starts_with('-') => None,
        (_, Some(name)) => match app(name) {
            Ok(app) => Some(app),
            Err(err) => return refuse(format!("{verb}: {err}")),
        },
    };
    Ok(Request::Verb { verb, app, args })
}

fn not_a_verb(word: &str) -> String {
    match word {
        "keys" | "keys:add" | "keys:remove" | "key" => {
            "keys are not reached through ssh; on the server: piku-receive key list".to_owned()
        }
        "git-lfs-authenticate" | "git-lfs-transfer" => {
            "piku keeps no Git LFS files; push with --no-verify, or take the files out of LFS: git lfs migrate export"
                .to_owned()
        }
        _ => format!("{} is not for this door; 'help' lists what is", quoted(word)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStrExt;

    fn ok(command: &str) -> Request {
        parse(OsStr::new(command)).expect(command).expect(command)
    }

    fn refused(command: &str) -> String {
        let message = parse(OsStr::new(command)).expect_err(command).to_string();
        assert!(!message.contains('\n'), "{message:?}");
        message
    }

    #[test]
    fn git_asks_for_an_app_in_several_spellings() {
        for path in [
            "blog",
            "'blog'",
            "/blog",
            "'/blog.git'",
            "blog.git",
            "~/blog",
            "'~/blog.git'",
            "blog/",
            "\"blog\"",
        ] {
            let app = "blog".parse().unwrap();
            let request = ok(&format!("git-receive-pack {path}"));
            assert_eq!(request, Request::Git { service: Service::ReceivePack, app }, "{path}");
        }
        assert!(matches!(ok("git receive-pack '/a'"), Request::Git { service: Service::ReceivePack, .. }));
        assert!(matches!(ok("git-upload-pack 'a'"), Request::Git { service: Service::UploadPack, .. }));
        assert!(matches!(ok("git upload-archive a"), Request::Git { service: Service::UploadArchive, .. }));
    }

    #[test]
    fn paths_are_not_apps() {
        for path in [
            "..",
            "/..",
            "../blog",
            "a/b",
            "/home/piku/blog",
            "//blog",
            "~piku/blog",
            "Blog",
            "blog.git.git",
            "''",
            "/",
            ".git",
            "-x",
            "'blog*'",
            "blog//",
            "$HOME",
            "a_b",
            "'blog\n'",
        ] {
            assert!(refused(&format!("git-receive-pack {path}")).starts_with("bad app name"), "{path}");
        }
    }

    #[test]
    fn nothing_else_gets_through() {
        for command in [
            "sh",
            "bash -c id",
            "git",
            "git-shell",
            "git-receive-pack",
            "git-receive-pack a; id",
            "git-receive-pack a b",
            "git-receive-pack --strict a",
            "git upload-pack --timeout=1 a",
            "git -c x=y receive-pack a",
            "scp -t .",
            "rsync --server",
            "internal-sftp",
            "piku ps",
            "piku-run ps",
            "/bin/sh",
            "keys",
            "key add x",
            "apps;id",
            "$(id)",
            "PS",
            "config:",
            "ps:scal x",
            "git-lfs-authenticate blog upload",
            "logs",
            "run",
            "logs -f blog",
            "destroy ..",
            "destroy 'blog*'",
            "stop --all",
            "'",
            "\"",
            "run blog 'a",
        ] {
            refused(command);
        }
        let strange = parse(OsStr::from_bytes(b"git-receive-pack \xff")).unwrap_err();
        assert_eq!(strange.to_string(), "the command is not UTF-8");
    }

    #[test]
    fn nothing_asked_is_no_request() {
        for nothing in ["", " ", "\n\t", "# a comment"] {
            assert_eq!(parse(OsStr::new(nothing)), Ok(None), "{nothing:?}");
        }
    }

    #[test]
    fn verbs_keep_their_arguments_as_they_are() {
        let app: AppName = "blog".parse().unwrap();
        assert_eq!(
            ok("config:set blog 'A=a  b' B='$x; `y`' \"C=it's\" D=\\*"),
            Request::Verb {
                verb: "config:set",
                app: Some(app.clone()),
                args: ["blog", "A=a  b", "B=$x; `y`", "C=it's", "D=*"].map(str::to_owned).to_vec(),
            }
        );
        assert_eq!(ok("ps"), Request::Verb { verb: "ps", app: None, args: vec![] });
        assert!(matches!(ok("ps --format json"), Request::Verb { verb: "ps", app: None, .. }));
        assert!(matches!(ok("ps blog"), Request::Verb { verb: "ps", app: Some(name), .. } if name == app));
        assert!(matches!(ok("apps"), Request::Verb { verb: "apps", app: None, .. }));
        assert!(matches!(ok("--help"), Request::Verb { verb: "help", .. }));
    }

    #[test]
    fn a_refusal_is_short_and_shows_no_control_characters() {
        let message = refused(&format!("'\x1b[2J{}'", "x".repeat(10_000)));
        assert!(message.len() < 300 && !message.contains('\x1b'), "{message}");
        for long in ["git-upload-pack", "ps"] {
            assert!(refused(&format!("{long} {}", "x".repeat(10_000))).len() < 300);
        }
    }

    /// The grammar of DESIGN, spelt out once more.
    fn in_grammar(name: &str) -> bool {
        let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        (1..=63).contains(&name.len())
            && name.chars().all(|c| edge(c) || c == '-')
            && name.starts_with(edge)
            && name.ends_with(edge)
    }

    fn check(command: &[u8]) {
        match parse(OsStr::from_bytes(command)) {
            Ok(None) => {}
            Ok(Some(Request::Git { app, .. } | Request::Release { app, .. })) => {
                assert!(in_grammar(app.as_str()), "{app}");
            }
            Ok(Some(Request::Verb { verb, app, args })) => {
                assert!(VERBS.iter().any(|(known, _)| *known == verb));
                assert_eq!(
                    app.as_ref().map(AppName::as_str),
                    args.first().map(String::as_str).filter(|_| app.is_some())
                );
                assert!(app.is_none_or(|app| in_grammar(app.as_str())));
            }
            Err(refusal) => {
                let line = refusal.to_string();
                assert!(!line.is_empty() && !line.chars().any(char::is_control), "{line:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_a_request_or_a_refusal(command in proptest::collection::vec(any::<u8>(), 0..200)) {
            check(&command);
        }

        #[test]
        fn any_text_behind_a_known_word_too(
            word in proptest::sample::select(vec![
                "git-receive-pack", "git upload-pack", "git-upload-archive", "ps", "run", "config:set", "destroy", "apps",
                "release:offer", "release:take", "release:deploy", "release:undo",
            ]),
            rest in "[a-z0-9A-Z./~'\"\\\\ \t\n*?$;&|<>()`#éß-]{0,80}",
        ) {
            check(format!("{word} {rest}").as_bytes());
        }
    }
}
