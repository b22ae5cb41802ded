//! Submodules: git fetches them from the URLs in `.gitmodules`. They are kept in the repository for the next
//! deploy.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use git2::{ObjectType, Oid, Repository, RepositoryInitOptions, Tree};
use piku_files::{remove_all, sha256};
use piku_report::progress;
use piku_report::user_error::{UserError, WithHint};
use sha2::{Digest, Sha256};

use super::ExportOptions;
use super::fetch_access::{self, FetchAccess};
use crate::child_env;
use crate::client::quoted;
use crate::limits::{self, AMPLE_SPACE, IntakeLimit};
use crate::repository;

/// Longest `.gitmodules` in bytes.
const LONGEST: usize = 1 << 20;
/// Gives up on a server that sends nothing for a minute.
const PATIENCE: [&str; 4] = ["-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60"];

/// Fetched repositories, one for each URL.
pub(super) struct SubmoduleRepos {
    repo: PathBuf,
    /// Limits for a fetch, and the key for it.
    options: ExportOptions,
    /// URLs by path, for each `.gitmodules` by its blob.
    read: HashMap<Oid, HashMap<String, String>>,
}

impl SubmoduleRepos {
    /// Keeps submodules below the bare repository `repo`, in the directory that git uses for them.
    pub(super) fn beside(repo: &Path, options: &ExportOptions) -> Self {
        Self { repo: repo.to_owned(), options: options.clone(), read: HashMap::new() }
    }

    /// Returns a repository with `commit` of the submodule at `path` in the tree `top` of `repo`, fetched if
    /// necessary. `shown` is its path in the export.
    pub(super) fn fetch_repository(
        &mut self,
        repo: &Repository,
        top: &Tree<'_>,
        path: &str,
        shown: &str,
        commit: Oid,
    ) -> anyhow::Result<Repository> {
        let url = self.find_url(repo, top, path, shown)?;
        if let Err(why) = check_url(&url) {
            let failure =
                UserError::new(format!("the submodule {} is at {}: {why}", quoted(shown), quoted(&url)));
            return Err(failure.hint("use an https:// or ssh:// URL in .gitmodules").into());
        }
        let folder = self.repo.join("modules");
        let home = folder.join(format!("{}.git", folder_name(&url)));
        if let Some(repo) = open_fetched(&home, commit) {
            return Ok(repo);
        }
        progress::step(&format!("Fetching submodule {shown} from {}", without_password(&url)));
        let most =
            IntakeLimit::read_limit(&self.options.settings, &self.repo, AMPLE_SPACE)?.allowed_bytes()?;
        let access = FetchAccess::write(&folder, self.options.config.as_deref())?;
        let shown_url = without_password(&url);
        let hint = if access.has_key() || shown_url.starts_with("http") {
            format!("the server must be able to reach {shown_url} and to find commit {commit} there")
        } else {
            format!(
                "the server must be able to reach {shown_url} and to find commit {commit} there; a private one needs a deploy key: config:set APP DEPLOY_KEY=$(base64 -w0 < KEY); see docs/runtimes.md"
            )
        };
        fetch_commit(&home, &url, commit, most, &access)
            .with_context(|| format!("cannot fetch the submodule {}", quoted(shown)))
            .hint(hint)
    }

    fn find_url(
        &mut self,
        repo: &Repository,
        top: &Tree<'_>,
        path: &str,
        shown: &str,
    ) -> anyhow::Result<String> {
        let unnamed = || {
            UserError::new(format!("{} is a submodule, but .gitmodules has no URL for it", quoted(shown)))
                .hint(format!("git rm --cached {path}; git submodule add URL {path}"))
        };
        let entry = top.get_name(".gitmodules").ok_or_else(unnamed)?;
        if entry.kind() != Some(ObjectType::Blob) || entry.filemode() == 0o120_000 {
            return Err(UserError::new(".gitmodules is not a file").into());
        }
        let objects = repo.odb().map_err(repository::plain_error).context("cannot read the repository")?;
        let (bytes, _) = objects.read_header(entry.id()).map_err(repository::plain_error)?;
        if bytes > LONGEST {
            return Err(UserError::new(format!(".gitmodules is longer than {LONGEST} bytes")).into());
        }
        let urls = match self.read.entry(entry.id()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(read_gitmodules(repo, entry.id())?),
        };
        Ok(urls.get(path).cloned().ok_or_else(unnamed)?)
    }
}

/// Reads a `.gitmodules` with git, without following `include`.
fn read_gitmodules(repo: &Repository, blob: Oid) -> anyhow::Result<HashMap<String, String>> {
    let out = git_command(repo.path())?
        .args(["config", "--no-includes", "-z", "--list", "--blob", &blob.to_string()])
        .output()
        .context("cannot run git")?;
    if !out.status.success() {
        return Err(UserError::new(format!("bad .gitmodules: {}", last_line(&out.stderr))).into());
    }
    Ok(parse_gitmodules(&String::from_utf8_lossy(&out.stdout)))
}

/// Returns URLs by path, from `submodule.NAME.path` and `submodule.NAME.url`.
fn parse_gitmodules(list: &str) -> HashMap<String, String> {
    let mut paths = HashMap::new();
    let mut urls = HashMap::new();
    for (key, value) in list.split('\0').filter_map(|item| item.split_once('\n')) {
        let Some((name, variable)) = key.strip_prefix("submodule.").and_then(|key| key.rsplit_once('.'))
        else {
            continue;
        };
        match variable {
            "path" => paths.insert(value.trim_end_matches('/'), name),
            "url" => urls.insert(name, value),
            _ => None,
        };
    }
    let found =
        paths.into_iter().filter_map(|(path, name)| Some((path.to_owned(), (*urls.get(name)?).to_owned())));
    found.collect()
}

/// Checks that git may fetch from a URL; the error is the reason.
fn check_url(url: &str) -> Result<(), &'static str> {
    if url.is_empty() || url.starts_with('-') || url.chars().any(|c| c.is_control() || c == ' ') {
        return Err("this is not a valid URL");
    }
    if let Some((scheme, rest)) = url.split_once("://") {
        return match scheme.to_ascii_lowercase().as_str() {
            "https" | "http" | "ssh" | "git" if !rest.starts_with(['-', '/']) => Ok(()),
            "https" | "http" | "ssh" | "git" => Err("this is not a valid URL"),
            "file" => Err("piku does not fetch from file: URLs"),
            _ => Err("piku fetches by https, http, ssh and git only"),
        };
    }
    if url.starts_with("./") || url.starts_with("../") || url == "." || url == ".." {
        return Err("a relative URL does not work on the server");
    }
    if url.to_ascii_lowercase().starts_with("file:") {
        return Err("piku does not fetch from file: URLs");
    }
    match url.split_once(':') {
        // `transport::address` runs a remote helper of git.
        Some((_, rest)) if rest.starts_with(':') => Err("piku fetches by https, http, ssh and git only"),
        // `user@host:path` is the short form of ssh.
        Some((host, path)) if !host.is_empty() && !host.contains('/') && !path.is_empty() => Ok(()),
        _ => Err("piku does not fetch from a path on the server"),
    }
}

/// Returns the directory name for a URL, independent of its characters.
fn folder_name(url: &str) -> String {
    sha256::to_hex(&Sha256::digest(url.as_bytes())[..16])
}

/// Returns the ref that marks a completely fetched commit.
fn marker_ref(commit: Oid) -> String {
    format!("refs/piku/{commit}")
}

fn open_fetched(home: &Path, commit: Oid) -> Option<Repository> {
    let repo = repository::open(home).ok()?;
    repo.find_reference(&marker_ref(commit)).ok()?;
    repo.find_commit(commit).ok()?;
    Some(repo)
}

/// Fetches the commit alone if the server allows it, otherwise those of all refs; no file of more than
/// `most` bytes.
/// Leftovers of a killed fetch are removed.
fn fetch_commit(
    home: &Path,
    url: &str,
    commit: Oid,
    most: u64,
    access: &FetchAccess,
) -> anyhow::Result<Repository> {
    let alone = format!("+{commit}:{}", marker_ref(commit));
    // A dry run stores the objects and no ref: a server can have more of them than the disk has inodes.
    let tries: [&[&str]; 2] = [
        &["--depth=1", "--no-tags", "--", url, &alone],
        &["--dry-run", "--no-tags", "--", url, "+refs/*:refs/remote/*"],
    ];
    let mut said = String::new();
    for (at, args) in tries.into_iter().enumerate() {
        if at > 0 || repository::open(home).is_err() {
            create_empty(home)?;
        }
        let mut git = git_command(home)?;
        access.grant(&mut git);
        git.args(PATIENCE)
            .args([
                "-c",
                "gc.auto=0",
                "-c",
                // As in a repository that receives pushes.
                "fetch.unpackLimit=1",
                "-c",
                "core.hooksPath=/dev/null",
                "fetch",
                "-q",
                "--no-recurse-submodules",
            ])
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let out = limits::spawn_bounded(&mut git, Some(most))
            .and_then(Child::wait_with_output)
            .context("cannot run git")?;
        if out.status.success() {
            let repo = repository::open(home)?;
            if repo.find_commit(commit).is_err() {
                "the remote does not have the commit; push it in the submodule first".clone_into(&mut said);
                continue;
            }
            repo.reference(&marker_ref(commit), commit, true, "fetched").map_err(repository::plain_error)?;
            drop(repo);
            return open_fetched(home, commit).context("cannot read the fetched commit");
        }
        said = last_line(&out.stderr);
    }
    Err(UserError::new(said).into())
}

/// Creates an empty bare repository and replaces an existing one.
fn create_empty(home: &Path) -> anyhow::Result<()> {
    remove_all(home).with_context(|| format!("cannot remove '{}'", home.display()))?;
    let mut options = RepositoryInitOptions::new();
    options.bare(true).mkpath(true).external_template(false);
    let made = Repository::init_opts(home, &options);
    made.map(drop)
        .map_err(repository::plain_error)
        .with_context(|| format!("cannot create '{}'", home.display()))
}

/// Returns a git command for this repository, without prompts and with limited protocols and access.
fn git_command(repo: &Path) -> anyhow::Result<Command> {
    let mut git = child_env::clean_command("git")?;
    fetch_access::bound_command(&mut git);
    git.env("GIT_DIR", repo).env("LC_ALL", "C").env_remove("GIT_PROTOCOL").stdin(Stdio::null());
    Ok(git)
}

/// Returns the line of git's error, without `fatal: `.
fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let fatal = lines.iter().find(|line| line.starts_with("fatal: ")).or(lines.last());
    let line = fatal.map_or("git printed no error", |line| line.strip_prefix("fatal: ").unwrap_or(line));
    line.chars().filter(|c| !c.is_control()).collect()
}

/// Returns the URL without user and password, for the deploy's log.
fn without_password(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            format!("{scheme}://{host}/{path}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_other_machines_only() {
        for good in [
            "https://example.org/a.git",
            "http://example.org/a",
            "ssh://git@example.org:22/a",
            "git://127.0.0.1:9418/a",
            "git@example.org:a/b.git",
            "example.org:a",
            "HTTPS://example.org/a",
            "https://user:secret@example.org/a",
        ] {
            assert_eq!(check_url(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/srv/git/a",
            "./a",
            "../a",
            "..",
            ".",
            "a/b",
            "a",
            "file:///etc",
            "FILE:///etc",
            "file:/etc",
            "ext::sh -c id",
            "ext::sh",
            "fd::17",
            "-oProxyCommand=id",
            "--upload-pack=id",
            "ssh://-oProxyCommand=id/a",
            "https:///a",
            "ftp://example.org/a",
            "https://example.org/a\nb",
            "https://example.org/a b",
            "rsync://x/a",
            ":a",
            "/a:b",
            "host:",
        ] {
            assert!(check_url(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn urls_by_path() {
        let list = "submodule.a.b.path\nlib/x/\0submodule.a.b.url\nhttps://x/a\0submodule.c.path\nonly\0core.x\ny\0novalue\0";
        let read = parse_gitmodules(list);
        assert_eq!(read.len(), 1);
        assert_eq!(read["lib/x"], "https://x/a");
    }

    #[test]
    fn no_password_is_shown() {
        assert_eq!(without_password("https://u:p@h/a@b"), "https://h/a@b");
        assert_eq!(without_password("git@h:a"), "git@h:a");
    }
}
