//! `admit`, git's pre-receive hook: refuses before anything is stored what cannot be meant, in one line that says what to
//! do, where git itself would say it in its own words or not at all.

use std::env;
use std::path::Path;

use anyhow::Context;
use git2::{ObjectType, Oid, Reference, Repository};
use piku_files::TreeHandle;
use piku_files::free_space::size;
use piku_layout::paths::AppDir;
use piku_report::user_error::UserError;

use crate::client::quoted;
use crate::deploy::begin::{RefUpdate, TAGS, updates};
use crate::deploy::lock::{self, LockNote};
use crate::limits;
use crate::push::push_options::PushOptions;
use crate::repository;
use crate::repository::branch::{self, PREFIX};

/// A longer name is for nobody to read, and with what git adds to it for its lock soon no name of a file.
const LONGEST_NAME: usize = 200;
/// No commit and no tag is larger, in bytes: they are read as a whole, again and again.
const LARGEST: usize = 1 << 20;

/// Looks at each ref that is to change; one that is refused refuses the whole push.
pub(crate) fn run(app: Option<&AppDir>) -> anyhow::Result<()> {
    leave_word(app, &LockNote::Received)?;
    limits::bound_memory().context("cannot bound this process's memory")?;
    let updates = updates()?;
    let options = PushOptions::admitted()?;
    if options.dry_run {
        // Said before anything is stored: whatever happens then, it is put back.
        leave_word(app, &LockNote::DryRun)?;
    }
    for update in &updates {
        check_name(update)?;
    }
    // The new objects are still in git's quarantine, which only its environment knows.
    let repo =
        Repository::open_from_env().map_err(repository::plain_error).context("cannot open the repository")?;
    for update in &updates {
        check(&repo, update)?;
    }
    write_out_objects()?;
    leave_word(app, &LockNote::Admitted)
}

/// Puts the new objects on the disk before the refs that git is about to sync.
fn write_out_objects() -> anyhow::Result<()> {
    let Some(quarantine) = env::var_os("GIT_QUARANTINE_PATH") else { return Ok(()) };
    match TreeHandle::open_following(Path::new(&quarantine)) {
        // Nothing was sent.
        Err(err) if err.is_missing() => Ok(()),
        objects => Ok(objects?.write_out(None)?),
    }
}

fn leave_word(app: Option<&AppDir>, note: &LockNote) -> anyhow::Result<()> {
    let Some(app) = app else { return Ok(()) };
    lock::note(app, note).with_context(|| format!("cannot write '{}'", app.lock().display()))
}

/// Refuses all names but those of branches and tags. git gives others a meaning of their own (`refs/replace`), or nobody sees them
/// again; what is there already may be removed.
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
        "git takes no such name"
    } else if is_hash || short == "HEAD" {
        "it means something else to git"
    } else {
        return Ok(());
    };
    Err(UserError::new(format!("{} is no name for a branch or a tag: {why}", quoted(short))))
}

fn check(repo: &Repository, update: &RefUpdate) -> anyhow::Result<()> {
    let name = branch::name(&update.reference);
    if update.new.is_zero() {
        let deployed = branch::deployed(repo).is_some_and(|tip| tip.reference == update.reference);
        if deployed {
            let what = format!("{} is the branch that is deployed and cannot be deleted", readable(name));
            return Err(UserError::new(what).into());
        }
        return Ok(());
    }
    check_size(repo, update.new)?;
    if !update.reference.starts_with(PREFIX) {
        return Ok(());
    }
    let object = repo.find_object(update.new, None).map_err(repository::plain_error).with_context(|| {
        format!("the newest commit of {} cannot be read; 'git commit --amend' makes it anew", quoted(name))
    })?;
    match object.kind() {
        Some(ObjectType::Commit) => Ok(()),
        Some(ObjectType::Tag) => {
            let tag = object.as_tag().and_then(git2::Tag::name).unwrap_or("TAG").to_owned();
            let spec = format!("{tag}^{{}}:{name}");
            let command = format!("git push REMOTE {}", shell_words::quote(&spec));
            Err(UserError::new(format!(
                "the tag {} is no commit, and a branch holds commits: {command}",
                readable(&tag)
            ))
            .into())
        }
        _ => Err(UserError::new(format!("what was pushed to {} is no commit", readable(name))).into()),
    }
}

/// Refuses a commit or a tag that nobody can have meant, before any of it is read.
fn check_size(repo: &Repository, id: Oid) -> anyhow::Result<()> {
    let objects = repo.odb().map_err(repository::plain_error)?;
    let (bytes, kind) = objects.read_header(id).map_err(repository::plain_error)?;
    let is_read = matches!(kind, ObjectType::Commit | ObjectType::Tag);
    if is_read && bytes > LARGEST {
        let what = format!(
            "the {kind} {} has {}, and no more than {} are taken",
            repository::short_commit(&id.to_string()),
            size(bytes as u64),
            size(LARGEST as u64)
        );
        return Err(UserError::new(what).hint("write a shorter message").into());
    }
    Ok(())
}

/// A name as it is shown without quotes, cut where no name of a ref would end.
fn readable(name: &str) -> String {
    name.chars().take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(reference: &str) -> String {
        let new = Oid::from_str(&"1".repeat(40)).unwrap();
        let update = RefUpdate { new, reference: reference.to_owned() };
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
            assert!(said(bad).contains("is no name for a branch or a tag"), "{bad}: {}", said(bad));
        }
        let long = said(&format!("refs/tags/{}", "x".repeat(2000)));
        assert!(long.len() < 300, "{long}");
        let long = said(&format!("refs/other/{}", "x".repeat(2000)));
        assert!(long.len() < 300, "{long}");
    }
}
