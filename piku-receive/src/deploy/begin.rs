//! `begin-deploy`: chooses the commit that a push deploys, the new tip of the deploy branch if there is one.
//! Other refs are stored, and the push reports them.

#![expect(clippy::disallowed_methods, reason = "creates the log directory, which only piku writes")]

use std::env;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;
use git2::{Oid, Repository};
use piku_layout::deploys::deploy_attempt::DeployAttempt;
use piku_layout::paths::AppDir;
use piku_report::output;
use piku_report::progress;

use crate::app_context;
use crate::client;
use crate::deploy::deploy_folder;
use crate::deploy::deploy_record::{DeployRecord, DeployState};
use crate::deploy::lock::{self, LockNote};
use crate::now;
use crate::push::push_options::PushOptions;
use crate::repository;
use crate::repository::branch::{self, BranchTip, PREFIX};

pub(crate) const TAGS: &str = "refs/tags/";
/// Number of refs that a push reports one by one.
const REPORTED_REFS: usize = 20;
/// Longest commit subject that is kept, in characters.
const LONGEST_SUBJECT: usize = 300;

/// A changed ref, from a line that git passes to a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefUpdate {
    /// Old target; zero for a new ref.
    pub(crate) old: Oid,
    /// New target; zero for a deleted ref.
    pub(crate) new: Oid,
    pub(crate) reference: String,
}

impl RefUpdate {
    /// Returns true for a ref that did not exist.
    pub(crate) fn is_created(&self) -> bool {
        self.old.is_zero() && !self.new.is_zero()
    }
}

/// Reads `OLD NEW REF` lines from stdin.
pub(crate) fn read_ref_updates() -> anyhow::Result<Vec<RefUpdate>> {
    let mut text = Vec::new();
    io::stdin().lock().read_to_end(&mut text).context("cannot read the changed refs from stdin")?;
    // The name of a ref can be any bytes; only a UTF-8 name can be a deploy branch.
    String::from_utf8_lossy(&text).lines().map(parse_ref_update).collect()
}

fn parse_ref_update(line: &str) -> anyhow::Result<RefUpdate> {
    let mut words = line.splitn(3, ' ');
    let (Some(old), Some(new), Some(reference)) = (words.next(), words.next(), words.next()) else {
        anyhow::bail!("expected 'OLD NEW REF' on stdin, found {}", client::quoted(line));
    };
    let parse_id = |id: &str| {
        Oid::from_str(id)
            .map_err(repository::plain_error)
            .with_context(|| format!("bad object name {} on stdin", client::quoted(id)))
    };
    Ok(RefUpdate { old: parse_id(old)?, new: parse_id(new)?, reference: reference.to_owned() })
}

/// If a deploy is due, records that it begins, unless it is a dry run, and prints four lines: `COMMIT NUMBER
/// OPTION…`, the subject of the commit, the folder of the deploy, and the names of git's own variables.
pub(crate) fn begin_deploy(path: &Path, app: &AppDir, by: &str) -> anyhow::Result<()> {
    let updates = read_ref_updates()?;
    let repo = repository::open(path)?;
    // `piku-receive deploy` sets it for a branch that is not the deploy branch.
    let asked = env::var(app_context::BRANCH).ok().filter(|asked| !asked.is_empty());
    let options = PushOptions::from_env()?;
    let due = match &asked {
        _ if options.rebuild => find_rebuild_commit(&repo, &updates),
        Some(reference) => branch::find_tip(&repo, reference),
        None => find_due_branch(&repo, &updates)?,
    };
    if asked.is_none() && !options.rebuild {
        report_stored_refs(&repo, app, &updates, due.is_some());
    }
    let Some(BranchTip { reference, commit }) = due else {
        if options.dry_run {
            lock::append_note(app, &LockNote::Planned).context("cannot record the dry run")?;
        }
        return Ok(());
    };
    let number = app.next_number().context("cannot count the releases")?;
    let subject = read_subject(&repo, commit)?;
    let commit = commit.to_string();
    create_log_dir(app)?;
    // First, since it may fail, and no hook would take back what follows.
    let folder = deploy_folder::create_deploy_folder(app)?;
    // A rebuild does not change which commit is live.
    if !options.dry_run && !options.rebuild {
        let state = DeployState::Deploying;
        DeployRecord { commit: commit.clone(), reference, number, by: by.to_owned(), at: now(), state }
            .write(app)?;
        let attempt = DeployAttempt {
            commit: commit.clone(),
            subject: subject.clone(),
            by: by.to_owned(),
            at: now().to_string(),
        };
        attempt.write(&app.attempt(number))?;
    }
    let words: String = options.words().flat_map(|word| [" ", word]).collect();
    let names = git_variables();
    let path = folder.path().display();
    output::write(format!("{commit} {number}{words}\n{subject}\n{path}\n{names}\n").as_bytes())?;
    // From here on, the hook removes it.
    _ = folder.keep();
    Ok(())
}

/// Returns the names of the variables that git has set for its hook, with spaces between them.
fn git_variables() -> String {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let names: Vec<String> =
        names.filter(|name| name.starts_with("GIT_") && name.bytes().all(is_word)).collect();
    names.join(" ")
}

/// Returns the commit to rebuild, which may no longer be the tip of a branch.
fn find_rebuild_commit(repo: &Repository, updates: &[RefUpdate]) -> Option<BranchTip> {
    let update = updates.first().filter(|update| repo.find_commit(update.new).is_ok())?;
    Some(BranchTip { reference: update.reference.clone(), commit: update.new })
}

/// Returns the first line of the commit's message, shortened. Bytes that are not UTF-8 are replaced.
fn read_subject(repo: &Repository, commit: Oid) -> anyhow::Result<String> {
    let found = repo.find_commit(commit).map_err(repository::plain_error)?;
    let subject = String::from_utf8_lossy(found.summary_bytes().unwrap_or_default());
    Ok(subject.chars().take(LONGEST_SUBJECT).collect())
}

fn create_log_dir(app: &AppDir) -> anyhow::Result<()> {
    let log = app.log();
    fs::create_dir_all(&log).with_context(|| format!("cannot create '{}'", log.display()))
}

/// Returns the tip of the deploy branch if it was pushed.
fn find_due_branch(repo: &Repository, updates: &[RefUpdate]) -> anyhow::Result<Option<BranchTip>> {
    let pushed: Vec<&str> = updates
        .iter()
        .filter(|update| update.reference.starts_with(PREFIX) && !update.new.is_zero())
        .map(|update| update.reference.as_str())
        .collect();
    let tip = branch::find_or_choose_deploy_branch(repo, &pushed)?;
    Ok(tip.filter(|tip| pushed.contains(&tip.reference.as_str())))
}

fn report_stored_refs(repo: &Repository, app: &AppDir, updates: &[RefUpdate], deploys: bool) {
    let app = app.path().file_name().unwrap_or_default().to_string_lossy();
    let deployed = branch::find_deploy_branch(repo);
    let is_reported = |update: &&RefUpdate| {
        let is_stored = match &deployed {
            _ if update.reference.starts_with(TAGS) => !deploys,
            Some(tip) => tip.reference != update.reference,
            None => false,
        };
        is_stored && !update.new.is_zero()
    };
    let stored: Vec<&RefUpdate> = updates.iter().filter(is_reported).collect();
    let (first, more) = stored.split_at(stored.len().min(REPORTED_REFS));
    for update in first {
        report_stored_ref(&app, &update.reference, deployed.as_ref());
    }
    if !more.is_empty() {
        progress::step(&format!("{} more branches and tags are stored, not deployed", more.len()));
    }
}

fn report_stored_ref(app: &str, reference: &str, deployed: Option<&BranchTip>) {
    let main = deployed.map(|tip| branch::short_name(&tip.reference));
    if let Some(tag) = reference.strip_prefix(TAGS) {
        progress::step(&format!("{tag} is stored, not deployed: it is a tag"));
        if let Some(main) = main {
            let spec = format!("{tag}^{{}}:{main}");
            progress::detail(&format!("to deploy it: git push REMOTE {}", client::shell_word(&spec)));
        }
    } else if let (Some(name), Some(main)) = (reference.strip_prefix(PREFIX), main) {
        let spec = format!("{name}:{main}");
        progress::step(&format!("{name} is stored, not deployed: {app} deploys {main}"));
        progress::detail(&format!(
            "to deploy it: {} deploy {app} {} (or: git push REMOTE {})",
            client::ssh_command(),
            client::shell_word(name),
            client::shell_word(&spec)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ref_updates_are_parsed() {
        let zero = "0".repeat(40);
        let new = "1".repeat(40);
        let read = parse_ref_update(&format!("{zero} {new} refs/heads/a b")).unwrap();
        assert_eq!(
            read,
            RefUpdate {
                old: Oid::zero(),
                new: Oid::from_str(&new).unwrap(),
                reference: "refs/heads/a b".to_owned()
            }
        );
        for bad in ["", "x", "x y", "0 g refs/heads/x"] {
            assert!(parse_ref_update(bad).is_err(), "{bad:?}");
        }
    }

    fn commit(repo: &Repository, reference: &str) -> Oid {
        let author = git2::Signature::now("a", "a@localhost").unwrap();
        let tree = repo.treebuilder(None).unwrap().write().unwrap();
        repo.commit(Some(reference), &author, &author, reference, &repo.find_tree(tree).unwrap(), &[])
            .unwrap()
    }

    fn pushed(references: &[(&str, Oid)]) -> Vec<RefUpdate> {
        let update = |name: &str, new: Oid| RefUpdate { old: Oid::zero(), new, reference: name.to_owned() };
        references.iter().map(|(name, new)| update(name, *new)).collect()
    }

    fn due_branch(repo: &Repository, references: &[(&str, Oid)]) -> Option<String> {
        find_due_branch(repo, &pushed(references)).unwrap().map(|tip| tip.reference)
    }

    #[test]
    fn the_first_branch_becomes_the_deploy_branch_and_others_are_stored() {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repository::init_bare(dir.path()).unwrap();
        let feature = commit(&repo, "refs/heads/feature");
        let tag = commit(&repo, "refs/tags/v1");
        assert_eq!(
            due_branch(&repo, &[("refs/tags/v1", tag), ("refs/heads/feature", feature)]).unwrap(),
            "refs/heads/feature"
        );
        let main = commit(&repo, "refs/heads/main");
        assert_eq!(due_branch(&repo, &[("refs/heads/main", main)]), None);
        assert_eq!(
            due_branch(&repo, &[("refs/heads/main", main), ("refs/heads/feature", feature)]).unwrap(),
            "refs/heads/feature"
        );
        assert_eq!(due_branch(&repo, &[("refs/heads/feature", Oid::zero())]), None);
        assert_eq!(due_branch(&repo, &[("refs/tags/v1", tag)]), None);
    }

    #[test]
    fn of_several_first_branches_main_becomes_the_deploy_branch() {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repository::init_bare(dir.path()).unwrap();
        let references = ["refs/heads/alpha", "refs/heads/main", "refs/heads/master"];
        let tips: Vec<_> = references.iter().map(|name| (*name, commit(&repo, name))).collect();
        repo.set_head("refs/heads/nowhere").unwrap();
        assert_eq!(due_branch(&repo, &tips).unwrap(), "refs/heads/main");
        assert_eq!(branch::find_deploy_branch(&repo).unwrap().reference, "refs/heads/main");
    }
}
