//! Parser of the client's command. sshd passes one string, which is split by the rules of a shell, without a
//! shell. Anything but the requests below is refused with one line.

mod app_option;

use std::ffi::OsStr;
use std::fmt;

use piku_layout::name::{AppName, BadName, MAX_LEN};
use piku_report::edit_distance::nearest_name;

use crate::client::quoted;
use crate::release::ReleaseStep;
use app_option::{name_app_first, order_names};

/// Word before a verb that is executed on this host alone, whatever `deploy_to` names. Hosts put it before those that
/// they pass on, so that two that name each other do not do so for ever.
pub(crate) const RELAYED: &str = "here";

/// A server-side program of git.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GitService {
    /// `git push`.
    ReceivePack,
    /// `git fetch`, `git clone`, `git ls-remote`.
    UploadPack,
    /// `git archive --remote`.
    UploadArchive,
}

impl KeyRequest {
    /// Returns the name that a verb gives an app, or a new one: the key must be allowed to use it, too.
    pub(crate) fn new_name(&self) -> Option<AppName> {
        let Self::Verb { verb, args, .. } = self else { return None };
        let verb = verb.strip_prefix("apps:").unwrap_or(verb);
        let name = match verb {
            "rename" | "clone" | "fork" => args.iter().filter(|arg| !arg.starts_with('-')).nth(1)?,
            "restore" => {
                let after = args.iter().skip_while(|arg| *arg != "--as").nth(1).map(String::as_str);
                after.or_else(|| args.iter().find_map(|arg| arg.strip_prefix("--as=")))?
            }
            _ => return None,
        };
        parse_app_name(name).ok()
    }
}

impl GitService {
    /// Returns the subcommand of `git`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ReceivePack => "receive-pack",
            Self::UploadPack => "upload-pack",
            Self::UploadArchive => "upload-archive",
        }
    }
}

/// A parsed request. The scope of the key is not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyRequest {
    /// A git service on the repository of an app.
    Git { service: GitService, app: AppName },
    /// A step of a release that another host has built.
    Release { step: ReleaseStep, app: AppName },
    Verb {
        /// An entry of [`VERBS`].
        verb: &'static str,
        /// The first argument, if the verb takes an app.
        app: Option<AppName>,
        /// All arguments, including the app.
        args: Vec<String>,
        /// Another host passes it on: it is executed on this host alone.
        is_relayed: bool,
    },
}

/// Reason for refusing a command. `Display` prints one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestRefusal {
    word: String,
    message: String,
}

impl RequestRefusal {
    fn new(word: &str, message: impl Into<String>) -> Self {
        Self { word: word.to_owned(), message: message.into() }
    }

    /// Returns the first word of the command, as the client wrote it.
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VerbArguments {
    NoApp,
    /// An app, or none for all apps.
    OptionalApp,
    App,
    /// A service and an app.
    ServiceAndApp,
    /// A service, for keys of all apps.
    Service,
}

/// Verbs of `scripts/piku` that ssh clients can run, and other spellings of them that the script knows. Keys
/// can be managed on the server only.
#[rustfmt::skip]
const VERBS: &[(&str, VerbArguments)] = &[
    ("apps", VerbArguments::OptionalApp),
    ("apps:list", VerbArguments::OptionalApp),
    ("list", VerbArguments::OptionalApp),
    ("help", VerbArguments::NoApp),
    ("version", VerbArguments::NoApp),
    ("apps:info", VerbArguments::OptionalApp),
    ("apps:report", VerbArguments::OptionalApp),
    ("info", VerbArguments::OptionalApp),
    ("ps", VerbArguments::OptionalApp),
    ("status", VerbArguments::OptionalApp),
    ("metrics", VerbArguments::OptionalApp),
    ("audit", VerbArguments::OptionalApp),
    ("gc", VerbArguments::OptionalApp),
    ("domains", VerbArguments::OptionalApp),
    ("domains:check", VerbArguments::OptionalApp),
    ("certs", VerbArguments::OptionalApp),
    ("ps:report", VerbArguments::OptionalApp),
    ("ps:list", VerbArguments::OptionalApp),
    ("domains:report", VerbArguments::OptionalApp),
    ("domains:list", VerbArguments::OptionalApp),
    ("certs:info", VerbArguments::OptionalApp),
    ("certs:report", VerbArguments::OptionalApp),
    ("certs:list", VerbArguments::OptionalApp),
    ("create", VerbArguments::App),
    ("service:list", VerbArguments::NoApp),
    ("service:create", VerbArguments::Service),
    ("service:info", VerbArguments::Service),
    ("service:upgrade", VerbArguments::Service),
    ("service:destroy", VerbArguments::Service),
    ("service:bind", VerbArguments::ServiceAndApp),
    ("service:unbind", VerbArguments::ServiceAndApp),
    ("service:drop", VerbArguments::ServiceAndApp),
    ("service:console", VerbArguments::App),
    ("service:dump", VerbArguments::App),
    ("service:restore", VerbArguments::App),
    ("ps:scale", VerbArguments::App),
    ("open", VerbArguments::App),
    ("start", VerbArguments::App),
    ("stop", VerbArguments::App),
    ("restart", VerbArguments::App),
    ("cron:run", VerbArguments::App),
    ("run", VerbArguments::App),
    ("logs", VerbArguments::OptionalApp),
    ("releases", VerbArguments::App),
    ("rollback", VerbArguments::App),
    ("releases:info", VerbArguments::App),
    ("lock", VerbArguments::App),
    ("rename", VerbArguments::App),
    ("clone", VerbArguments::App),
    ("backup", VerbArguments::OptionalApp),
    ("backup:list", VerbArguments::NoApp),
    ("backup:run", VerbArguments::NoApp),
    ("backup:verify", VerbArguments::NoApp),
    ("restore", VerbArguments::OptionalApp),
    ("unlock", VerbArguments::App),
    ("deploy", VerbArguments::App),
    ("rebuild", VerbArguments::App),
    ("cancel", VerbArguments::App),
    ("destroy", VerbArguments::App),
    ("config", VerbArguments::App),
    ("config:get", VerbArguments::App),
    ("config:set", VerbArguments::App),
    ("config:unset", VerbArguments::App),
    ("config:import", VerbArguments::App),
    ("config:edit", VerbArguments::App),
    ("import-heroku", VerbArguments::App),
    ("import-dokku", VerbArguments::App),
    ("domains:add", VerbArguments::App),
    ("domains:remove", VerbArguments::App),
    ("certs:renew", VerbArguments::App),
    ("maintenance:on", VerbArguments::App),
    ("maintenance:off", VerbArguments::App),
    ("data:export", VerbArguments::App),
    ("data:import", VerbArguments::App),
    ("data:remove", VerbArguments::App),
    ("apps:create", VerbArguments::App),
    ("apps:destroy", VerbArguments::App),
    ("apps:delete", VerbArguments::App),
    ("apps:open", VerbArguments::App),
    ("ps:restart", VerbArguments::App),
    ("dyno:restart", VerbArguments::App),
    ("ps:stop", VerbArguments::App),
    ("dyno:stop", VerbArguments::App),
    ("ps:start", VerbArguments::App),
    ("dyno:start", VerbArguments::App),
    ("ps:rebuild", VerbArguments::App),
    ("scale", VerbArguments::App),
    ("dyno:scale", VerbArguments::App),
    ("formation", VerbArguments::App),
    ("builds:cancel", VerbArguments::App),
    ("config:show", VerbArguments::App),
    ("config:list", VerbArguments::App),
    ("config:live", VerbArguments::App),
    ("config:export", VerbArguments::App),
    ("env", VerbArguments::App),
    ("config:add", VerbArguments::App),
    ("env:set", VerbArguments::App),
    ("config:remove", VerbArguments::App),
    ("config:rm", VerbArguments::App),
    ("env:unset", VerbArguments::App),
    ("env:get", VerbArguments::App),
    ("certs:auto:enable", VerbArguments::App),
    ("letsencrypt:enable", VerbArguments::App),
    ("letsencrypt:auto-renew", VerbArguments::App),
    ("maintenance:enable", VerbArguments::App),
    ("maintenance:disable", VerbArguments::App),
    ("releases:rollback", VerbArguments::App),
    ("apps:rollback", VerbArguments::App),
    ("releases:list", VerbArguments::App),
    ("releases:show", VerbArguments::App),
    ("apps:lock", VerbArguments::App),
    ("apps:rename", VerbArguments::App),
    ("apps:clone", VerbArguments::App),
    ("apps:fork", VerbArguments::App),
    ("fork", VerbArguments::App),
    ("apps:restore", VerbArguments::OptionalApp),
    ("apps:unlock", VerbArguments::App),
    ("logs:tail", VerbArguments::OptionalApp),
];

/// Parses `SSH_ORIGINAL_COMMAND`; returns `None` if it is empty.
pub(crate) fn parse(command: &OsStr) -> Result<Option<KeyRequest>, RequestRefusal> {
    let Some(command) = command.to_str() else {
        return Err(RequestRefusal::new("-", "the command is not UTF-8"));
    };
    let first = command.split_whitespace().next().unwrap_or_default();
    let Ok(mut words) = shell_words::split(command) else {
        let message = "the command's quotes do not match; ssh removes one level, so quote twice: ssh … \"run app 'a b'\"";
        return Err(RequestRefusal::new(first, message));
    };
    // A remote.NAME.receivepack with a blank sends `git receive-pack` instead of `git-receive-pack`.
    if words.len() > 1 && words[0] == "git" {
        let joined = format!("git-{}", words[1]);
        words.splice(..2, [joined]);
    }
    let mut words = words.into_iter();
    let Some(verb) = words.next() else { return Ok(None) };
    if verb == RELAYED {
        let Some(verb) = words.next() else {
            return Err(RequestRefusal::new(
                RELAYED,
                format!("{RELAYED}: expected a verb for this machine alone"),
            ));
        };
        return parse_verb(&verb, words.collect(), true).map(Some);
    }
    let args: Vec<String> = words.collect();
    match verb.as_str() {
        "git-receive-pack" => parse_git(GitService::ReceivePack, &verb, &args),
        "git-upload-pack" => parse_git(GitService::UploadPack, &verb, &args),
        "git-upload-archive" => parse_git(GitService::UploadArchive, &verb, &args),
        "-h" | "--help" => {
            Ok(KeyRequest::Verb { verb: "help", app: None, args: Vec::new(), is_relayed: false })
        }
        "-V" | "--version" => {
            Ok(KeyRequest::Verb { verb: "version", app: None, args: Vec::new(), is_relayed: false })
        }
        _ => match verb.strip_prefix("release:") {
            Some(step) => parse_release(step, &verb, &args),
            None => parse_verb(&verb, args, false),
        },
    }
    .map(Some)
}

fn parse_git(service: GitService, word: &str, args: &[String]) -> Result<KeyRequest, RequestRefusal> {
    let [path] = args else {
        return Err(RequestRefusal::new(
            word,
            format!("{word} takes one app's name, found {} words", args.len()),
        ));
    };
    let app = parse_app_path(path).map_err(|err| RequestRefusal::new(word, err.to_string()))?;
    Ok(KeyRequest::Git { service, app })
}

fn parse_release(step: &str, word: &str, args: &[String]) -> Result<KeyRequest, RequestRefusal> {
    let refuse = |why: &str| RequestRefusal::new(word, format!("{word}: {why}"));
    let Some((name, rest)) = args.split_first() else { return Err(refuse("needs an app's name")) };
    let app = parse_app_name(name).map_err(|err| refuse(&err.to_string()))?;
    let step = ReleaseStep::parse(step, rest).map_err(|why| refuse(&why))?;
    Ok(KeyRequest::Release { step, app })
}

/// Parses the path of a remote URL: `blog`, `blog.git`, `/blog`, `~/blog`, `blog/`.
fn parse_app_path(path: &str) -> Result<AppName, BadName> {
    let name = path.strip_prefix("~/").or_else(|| path.strip_prefix('/')).unwrap_or(path);
    let name = name.strip_suffix('/').unwrap_or(name);
    parse_app_name(name.strip_suffix(".git").unwrap_or(name))
}

/// Parses a name. Only the beginning of a very long one is used, to keep the error message short.
fn parse_app_name(name: &str) -> Result<AppName, BadName> {
    let end = name.char_indices().nth(MAX_LEN + 1).map_or(name.len(), |(at, _)| at);
    name[..end].parse()
}

fn parse_verb(word: &str, args: Vec<String>, is_relayed: bool) -> Result<KeyRequest, RequestRefusal> {
    let refuse = |message: String| Err(RequestRefusal::new(word, message));
    let Some((verb, takes)) = VERBS.iter().find(|(verb, _)| *verb == word) else {
        return refuse(unknown_verb_message(word));
    };
    let args = if *takes == VerbArguments::ServiceAndApp { order_names(args) } else { name_app_first(args) };
    // The app that is checked here must be the one that the verb uses. What follows `run` is the command's
    // own.
    let names_app = |arg: &String| arg == "--app" || arg == "-a" || arg.starts_with("--app=");
    if *verb != "run" && args.iter().skip(1).take_while(|arg| *arg != "--").any(names_app) {
        return refuse(format!("{verb}: write --app before all other arguments"));
    }
    if matches!(args.first().map(String::as_str), Some("--help" | "-h")) {
        return Ok(KeyRequest::Verb { verb: "help", app: None, args: vec![(*verb).to_owned()], is_relayed });
    }
    let named = if *takes == VerbArguments::ServiceAndApp { args.get(1) } else { args.first() };
    let app = match (takes, named) {
        (VerbArguments::ServiceAndApp, None) => {
            return refuse(format!("{verb} needs a service's and an app's name"));
        }
        (VerbArguments::Service, None) => return refuse(format!("{verb} needs a service's name")),
        (VerbArguments::NoApp | VerbArguments::Service, _) | (VerbArguments::OptionalApp, None) => None,
        (VerbArguments::App, None) => return refuse(format!("{verb} needs an app's name")),
        (VerbArguments::OptionalApp, Some(option)) if option.starts_with('-') => None,
        (_, Some(option)) if option.starts_with('-') => {
            return refuse(format!(
                "{verb}: expected an app's name before {}; piku help {verb}",
                quoted(option)
            ));
        }
        (_, Some(name)) => match parse_app_name(name) {
            Ok(app) => Some(app),
            Err(err) => return refuse(format!("{verb}: {err}")),
        },
    };
    Ok(KeyRequest::Verb { verb, app, args, is_relayed })
}

fn unknown_verb_message(word: &str) -> String {
    match word {
        "keys" | "keys:add" | "keys:remove" | "key" => {
            "keys cannot be managed over ssh; on the server: sudo piku keys".to_owned()
        }
        "grant" | "revoke" | "import-piku" | "notify:test" | "status:password" | "domains:host" | "doctor" | "setup" => {
            format!("{word} does not work over ssh; on the server: sudo piku {word}")
        }
        "git-lfs-authenticate" | "git-lfs-transfer" => {
            "piku does not store Git LFS files; push with --no-verify, or convert them: git lfs migrate export"
                .to_owned()
        }
        _ => {
            let near = nearest_name(word, VERBS.iter().map(|(verb, _)| *verb))
                .map_or_else(String::new, |near| format!(", did you mean '{near}'?"));
            format!(
                "unknown verb {}{near}; 'help' lists the verbs of this server (piku {})",
                quoted(word),
                env!("CARGO_PKG_VERSION")
            )
        }
    }
}

#[cfg(test)]
mod tests;
