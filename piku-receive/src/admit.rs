//! `admit`, git's pre-receive hook: refuses before anything is stored what cannot be meant, in one line that says what to
//! do, where git itself would say it in its own words or not at all.

use anyhow::Context;
use git2::{ObjectType, Repository};
use piku_procfile::failure::Failure;
use piku_procfile::layout::AppDir;

use crate::branch::{self, PREFIX};
use crate::git;
use crate::lock::{self, Note};
use crate::options::Options;
use crate::select::{Update, updates};
use crate::talk;

/// Looks at each ref that is to change; one that is refused refuses the whole push.
pub(crate) fn run(app: Option<&AppDir>) -> anyhow::Result<()> {
    leave_word(app, &Note::Received)?;
    let updates = updates()?;
    let options = Options::admitted()?;
    if options.dry_run {
        // Said before anything is stored: whatever happens then, it is put back.
        leave_word(app, &Note::DryRun)?;
    }
    // The new objects are still in git's quarantine, which only its environment knows.
    let repo = Repository::open_from_env().map_err(git::plain).context("cannot open the repository")?;
    for update in &updates {
        check(&repo, update)?;
    }
    leave_word(app, &Note::Admitted)
}

fn leave_word(app: Option<&AppDir>, note: &Note) -> anyhow::Result<()> {
    let Some(app) = app else { return Ok(()) };
    lock::note(app, note).with_context(|| format!("cannot write '{}'", app.lock().display()))
}

fn check(repo: &Repository, update: &Update) -> anyhow::Result<()> {
    let Some(name) = update.reference.strip_prefix(PREFIX) else { return Ok(()) };
    if update.new.is_zero() {
        let deployed = branch::deployed(repo).is_some_and(|tip| tip.reference == update.reference);
        if deployed {
            let what = format!("{name} is the branch that is deployed and cannot be deleted");
            return Err(Failure::new(what).into());
        }
        return Ok(());
    }
    let object = repo.find_object(update.new, None).map_err(git::plain)?;
    match object.kind() {
        Some(ObjectType::Commit) => Ok(()),
        Some(ObjectType::Tag) => {
            let tag = object.as_tag().and_then(git2::Tag::name).unwrap_or("TAG").to_owned();
            let spec = format!("{tag}^{{}}:{name}");
            let command = format!("git push REMOTE {}", talk::word(&spec));
            Err(Failure::new(format!("the tag {tag} is no commit, and a branch holds commits: {command}"))
                .into())
        }
        _ => Err(Failure::new(format!("what was pushed to {name} is no commit")).into()),
    }
}
