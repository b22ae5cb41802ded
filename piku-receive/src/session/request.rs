//! What a client asks for. sshd hands over one string; it is split here, by the rules of a shell but by no shell, and
//! either is one of the few requests below or is refused in one line.

use std::ffi::OsStr;
use std::fmt;

use piku_layout::name::{AppName, BadName, MAX_LEN};

use crate::client::quoted;
use crate::release::ReleaseStep;

/// One of git's programs at the server's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GitService {
    /// `git push`.
    ReceivePack,
    /// `git fetch`, `git clone`, `git ls-remote`.
    UploadPack,
    /// `git archive --remote`.
    UploadArchive,
}

impl GitService {
    /// The name after `git`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ReceivePack => "receive-pack",
            Self::UploadPack => "upload-pack",
            Self::UploadArchive => "upload-archive",
        }
    }
}

/// A request that may be carried out, if the key's scope allows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyRequest {
    /// A program of git's for one app.
    Git {
        /// Which one.
        service: GitService,
        /// Whose repository.
        app: AppName,
    },
    /// A release from another machine.
    Release {
        /// What is asked.
        step: ReleaseStep,
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
pub(crate) struct RequestRefusal {
    word: String,
    message: String,
}

impl RequestRefusal {
    fn new(word: &str, message: impl Into<String>) -> Self {
        Self { word: word.to_owned(), message: message.into() }
    }

    /// The word that was asked for, as the client wrote it.
    pub(crate) fn word(&self) -> &str {
        &self.word
    }
}

impl fmt::Display for RequestRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RequestRefusal {}

/// What stands behind a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VerbArguments {
    /// No app.
    Nothing,
    /// An app, or nothing for all of them.
    Perhaps,
    /// An app, always.
    App,
}

/// The verbs of `scripts/piku` that ssh reaches. Keys are not among them: who may come in is decided on the server.
const VERBS: [(&str, VerbArguments); 27] = [
    ("apps", VerbArguments::Nothing),
    ("help", VerbArguments::Nothing),
    ("version", VerbArguments::Nothing),
    ("ps", VerbArguments::Perhaps),
    ("gc", VerbArguments::Perhaps),
    ("ps:scale", VerbArguments::App),
    ("maintenance:on", VerbArguments::App),
    ("maintenance:off", VerbArguments::App),
    ("certs:renew", VerbArguments::App),
    ("config", VerbArguments::App),
    ("config:get", VerbArguments::App),
    ("config:set", VerbArguments::App),
    ("config:unset", VerbArguments::App),
    ("config:import", VerbArguments::App),
    ("logs", VerbArguments::App),
    ("run", VerbArguments::App),
    ("releases", VerbArguments::App),
    ("rollback", VerbArguments::App),
    ("restart", VerbArguments::App),
    ("stop", VerbArguments::App),
    ("destroy", VerbArguments::App),
    ("data:export", VerbArguments::App),
    ("data:import", VerbArguments::App),
    ("data:remove", VerbArguments::App),
    ("deploy", VerbArguments::App),
    ("cancel", VerbArguments::App),
    ("rebuild", VerbArguments::App),
];

/// Reads `SSH_ORIGINAL_COMMAND`; `None` when there is nothing in it.
///
/// # Errors
/// When it is not one of the requests, in one line that says why.
pub(crate) fn parse(command: &OsStr) -> Result<Option<KeyRequest>, RequestRefusal> {
    let Some(command) = command.to_str() else {
        return Err(RequestRefusal::new("-", "the command is not UTF-8"));
    };
    let first = command.split_whitespace().next().unwrap_or_default();
    let Ok(mut words) = shell_words::split(command) else {
        let message = "the command's quotes do not match; ssh takes one level away, so quote twice: ssh … \"run app 'a b'\"";
        return Err(RequestRefusal::new(first, message));
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
        "git-receive-pack" => git(GitService::ReceivePack, &verb, &args),
        "git-upload-pack" => git(GitService::UploadPack, &verb, &args),
        "git-upload-archive" => git(GitService::UploadArchive, &verb, &args),
        "-h" | "--help" => Ok(KeyRequest::Verb { verb: "help", app: None, args: Vec::new() }),
        "-V" | "--version" => Ok(KeyRequest::Verb { verb: "version", app: None, args: Vec::new() }),
        _ => match verb.strip_prefix("release:") {
            Some(step) => release(step, &verb, &args),
            None => verb_with(&verb, args),
        },
    }
    .map(Some)
}

fn git(service: GitService, word: &str, args: &[String]) -> Result<KeyRequest, RequestRefusal> {
    let [path] = args else {
        return Err(RequestRefusal::new(
            word,
            format!("{word} takes one app's name, found {} words", args.len()),
        ));
    };
    let app = app_of_path(path).map_err(|err| RequestRefusal::new(word, err.to_string()))?;
    Ok(KeyRequest::Git { service, app })
}

fn release(step: &str, word: &str, args: &[String]) -> Result<KeyRequest, RequestRefusal> {
    let refuse = |why: &str| RequestRefusal::new(word, format!("{word}: {why}"));
    let Some((name, rest)) = args.split_first() else { return Err(refuse("needs an app's name")) };
    let app = app(name).map_err(|err| refuse(&err.to_string()))?;
    let step = ReleaseStep::parse(step, rest).map_err(|why| refuse(&why))?;
    Ok(KeyRequest::Release { step, app })
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

fn verb_with(word: &str, args: Vec<String>) -> Result<KeyRequest, RequestRefusal> {
    let refuse = |message: String| Err(RequestRefusal::new(word, message));
    let Some((verb, takes)) = VERBS.iter().find(|(verb, _)| *verb == word) else {
        return refuse(not_a_verb(word));
    };
    let app = match (takes, args.first()) {
        (VerbArguments::Nothing, _) | (VerbArguments::Perhaps, None) => None,
        (VerbArguments::App, None) => return refuse(format!("{verb} needs an app's name")),
        (VerbArguments::Perhaps, Some(option)) if option.starts_with('-') => None,
        (_, Some(name)) => match app(name) {
            Ok(app) => Some(app),
            Err(err) => return refuse(format!("{verb}: {err}")),
        },
    };
    Ok(KeyRequest::Verb { verb, app, args })
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
        _ => format!(
            "{} is not a verb of this server, which has piku {}; 'help' lists them",
            quoted(word),
            env!("CARGO_PKG_VERSION")
        ),
    }
}

#[cfg(test)]
mod tests;
