//! Errors about buildpacks.

use piku_report::user_error::UserError;

use super::join_names;

pub(crate) fn none() -> UserError {
    UserError::new("no buildpack is named, and none of the host's detects the app")
        .hint("BUILDPACK_URL in ENV, or a line each in a file .buildpacks, names them")
}

pub(crate) fn unknown(name: &str, from: &str, there: &[String]) -> UserError {
    let there = if there.is_empty() { "none".to_owned() } else { join_names(there) };
    UserError::new(format!("{from} names the unknown buildpack '{name}'; the host has {there}"))
        .hint("write the name of one of the host's, a folder of the app such as './buildpack', or a URL such as https://host/repo.git#branch")
}

/// The hint for a `bin/detect` or `bin/compile` that the kernel does not start.
pub(crate) const HOW_TO_MAKE_EXECUTABLE: &str = "in the buildpack, run 'git update-index --chmod=+x bin/detect bin/compile' and commit; \
     their first lines, such as '#!/bin/sh', must name a program of this machine";

pub(crate) fn archive(url: &str, from: &str) -> UserError {
    UserError::new(format!("{from} names the archive '{url}'; a buildpack is cloned by git"))
        .hint("write the URL of its repository, such as https://host/repo.git#branch")
}

pub(crate) fn no_folder(path: &str, from: &str) -> UserError {
    let error =
        UserError::new(format!("{from} names '{path}', but that folder of the app has no bin/compile"));
    if let Some(language) = path.strip_prefix("heroku/").filter(|name| !name.contains('/')) {
        return error.hint(format!(
            "piku builds most languages itself, without {from}; Heroku's own buildpack is \
             https://github.com/heroku/heroku-buildpack-{language}"
        ));
    }
    error.hint("a path is one inside the app; what the operator keeps on the host goes by its name alone")
}

pub(crate) fn empty_file(name: &str) -> UserError {
    UserError::new(format!("'{name}' names no buildpack"))
        .hint("write one a line, in the order in which they run")
}

pub(crate) fn not_its_own(pack: &str) -> UserError {
    UserError::new(format!("the buildpack '{pack}' does not detect this app"))
        .hint("its README says which files it looks for")
}

pub(crate) fn bad_release(why: &str) -> UserError {
    // It may repeat what the script has printed.
    let why: String = why.chars().take(200).collect();
    UserError::new(format!("the output of bin/release is not valid YAML: {why}"))
        .hint("it is 'default_process_types:' and below it a line for each type, such as '  web: ./server'")
}

pub(crate) fn nothing_started() -> UserError {
    UserError::new("the app has no Procfile, and no buildpack names what to start")
        .hint("add a file 'Procfile' with a line for each process, such as 'web: ./server --port $PORT'")
}
