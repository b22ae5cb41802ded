//! The pre-receive hook (`admit`): refuses refs and objects that cannot be deployed before git stores them,
//! with one line that names the solution.

use std::env;
use std::path::Path;

use anyhow::Context;
use git2::{ObjectType, Oid, Reference, Repository};
use piku_files::TreeHandle;
use piku_files::free_space::size;
use piku_layout::deploys::deploy_lock;
use piku_layout::git_history::short_commit;
use piku_layout::name::AppName;
use piku_layout::paths::{AppDir, PikuRoot};
use piku_layout::settings::HostSettings;
use piku_report::user_error::UserError;

use crate::client::{quoted, shell_word};
use crate::deploy::begin::{RefUpdate, TAGS, read_ref_updates};
use crate::deploy::lock::{self, LockNote};
use crate::limits;
use crate::push::push_options::PushOptions;
use crate::push::ref_limits;
use crate::repository;
use crate::repository::branch::{self, PREFIX};

/// Longest name of a branch or tag, in bytes: git's lock file for it needs a longer file name.
const LONGEST_NAME: usize = 200;
/// Largest size of a commit or tag object in bytes: they are read as a whole, repeatedly.
const LARGEST: usize = 1 << 20;

/// Checks every ref update. One refused update refuses the whole push.
pub(crate) fn check_push(root: &PikuRoot, app: Option<(&AppName, &AppDir)>) -> anyhow::Result<()> {
    let (name, app) = app.unzip();
    append_note(app, &LockNote::Received)?;
    limits::bound_memory().context("cannot bound this process's memory")?;
    let updates = read_ref_updates()?;
    let options = PushOptions::from_push_env()?;
    if options.dry_run {
        // Noted before anything is stored, so that every later result is undone.
        append_note(app, &LockNote::DryRun)?;
    } else if let (Some(name), Some(app)) = (name, app) {
        deploy_lock::check_unlocked(name, app)?;
    }
    for update in &updates {
        check_name(update)?;
    }
    // The new objects are in quarantine, which only the environment of the hook names.
    let repo =
        Repository::open_from_env().map_err(repository::plain_error).context("cannot open the repository")?;
    for update in &updates {
        check_update(&repo, update)?;
    }
    let settings = HostSettings::read(&root.settings())?;
    ref_limits::check_new_refs(&repo, &updates, settings.reserve_bytes())?;
    write_out_objects()?;
    append_note(app, &LockNote::Admitted)
}

/// Syncs the new objects before git syncs the refs.
fn write_out_objects() -> anyhow::Result<()> {
    let Some(quarantine) = env::var_os("GIT_QUARANTINE_PATH") else { return Ok(()) };
    match TreeHandle::open_following(Path::new(&quarantine)) {
        // Nothing was sent.
        Err(err) if err.is_missing() => Ok(()),
        objects => Ok(objects?.write_out(None)?),
    }
}

fn append_note(app: Option<&AppDir>, note: &LockNote) -> anyhow::Result<()> {
    let Some(app) = app else { return Ok(()) };
    lock::append_note(app, note).with_context(|| format!("cannot write '{}'", app.lock().display()))
}

/// Refuses names outside of branches and tags: git gives others a meaning (`refs/replace`), and nothing
/// lists them. They may be deleted.
fn check_name(update: &RefUpdate) -> Result<(), UserError> {
    let reference = update.reference.as_str();
    if update.new.is_zero() {
        return Ok(());
    }
    let short = reference.strip_prefix(PREFIX).or_else(|| reference.strip_prefix(TAGS));
    let Some(short) = short else {
        let what = format!("{} is neither a branch nor a tag", quoted(reference));
        return Err(UserError::new(what).hint("push to refs/heads/NAME or refs/tags/NAME"));
    };
    let is_hash = short.len() == 40 && short.bytes().all(|byte| byte.is_ascii_hexdigit());
    let why = if short.len() > LONGEST_NAME {
        "it is longer than 200 bytes"
    } else if short.contains(char::REPLACEMENT_CHARACTER) {
        "it is not UTF-8"
    } else if !Reference::is_valid_name(reference) {
        "git does not accept it"
    } else if is_hash || short == "HEAD" {
        "it has another meaning in git"
    } else {
        return Ok(());
    };
    Err(UserError::new(format!("{} cannot name a branch or a tag: {why}", quoted(short))))
}

fn check_update(repo: &Repository, update: &RefUpdate) -> anyhow::Result<()> {
    let name = branch::short_name(&update.reference);
    if update.new.is_zero() {
        let deployed = branch::find_deploy_branch(repo).is_some_and(|tip| tip.reference == update.reference);
        if deployed {
            let what = format!("{} is the deploy branch and cannot be deleted", shorten_name(name));
            return Err(UserError::new(what).into());
        }
        return Ok(());
    }
    check_size(repo, update.new)?;
    if !update.reference.starts_with(PREFIX) {
        return Ok(());
    }
    let object = repo.find_object(update.new, None).map_err(repository::plain_error).with_context(|| {
        format!("the newest commit of {} cannot be read; 'git commit --amend' writes it again", quoted(name))
    })?;
    match object.kind() {
        Some(ObjectType::Commit) => Ok(()),
        Some(ObjectType::Tag) => {
            let tag = object.as_tag().and_then(git2::Tag::name).unwrap_or("TAG").to_owned();
            let spec = format!("{tag}^{{}}:{name}");
            let command = format!("git push REMOTE {}", shell_word(&spec));
            Err(UserError::new(format!(
                "the tag {} is not a commit, which a branch needs: {command}",
                shorten_name(&tag)
            ))
            .into())
        }
        _ => {
            Err(UserError::new(format!("the object pushed to {} is not a commit", shorten_name(name))).into())
        }
    }
}

/// Refuses an oversized commit or tag before it is read.
fn check_size(repo: &Repository, id: Oid) -> anyhow::Result<()> {
    let objects = repo.odb().map_err(repository::plain_error)?;
    let (bytes, kind) = objects.read_header(id).map_err(repository::plain_error)?;
    let is_read = matches!(kind, ObjectType::Commit | ObjectType::Tag);
    if is_read && bytes > LARGEST {
        let what = format!(
            "the {kind} {} has {}, more than the allowed {}",
            short_commit(&id.to_string()),
            size(bytes as u64),
            size(LARGEST as u64)
        );
        return Err(UserError::new(what).hint("write a shorter message").into());
    }
    Ok(())
}

/// Returns a name for a message, cut after [`LONGEST_NAME`] characters.
fn shorten_name(name: &str) -> String {
    name.chars().take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(reference: &str) -> String {
        let new = Oid::from_str(&"1".repeat(40)).unwrap();
        let update = RefUpdate { old: Oid::zero(), new, reference: reference.to_owned() };
        check_name(&update).map_or_else(|err| err.to_string(), |()| String::new())
    }

    #[test]
    fn branches_and_tags_alone_are_taken() {
        for good in ["refs/heads/main", "refs/heads/it's", "refs/heads/a/b.c", "refs/tags/v1", "refs/heads/é"]
        {
            assert_eq!(said(good), "", "{good}");
        }
        for bad in [
            "refs/replace/1111111111111111111111111111111111111111",
            "refs/notes/commits",
            "refs/meta/config",
            "refs/piku/x",
            "refs/remotes/origin/main",
            "refs/stash",
            "refs/headsx/main",
            "refs/heads",
            "HEAD",
            "FETCH_HEAD",
            "config",
            "../../x",
            "",
        ] {
            assert!(said(bad).contains("is neither a branch nor a tag"), "{bad}: {}", said(bad));
        }
        let hash = format!("refs/heads/{}", "a1".repeat(20));
        for bad in [
            "refs/heads/",
            "refs/heads/../x",
            "refs/heads/a..b",
            "refs/heads/a.lock",
            "refs/heads/.a",
            "refs/heads/a b",
            "refs/heads/a\nb",
            "refs/heads/a\u{fffd}",
            "refs/tags/HEAD",
            hash.as_str(),
        ] {
            assert!(said(bad).contains("cannot name a branch or a tag"), "{bad}: {}", said(bad));
        }
        let long = said(&format!("refs/tags/{}", "x".repeat(2000)));
        assert!(long.len() < 300, "{long}");
        let long = said(&format!("refs/other/{}", "x".repeat(2000)));
        assert!(long.len() < 300, "{long}");
    }
}
