//! Errors about buildpacks.

use piku_report::user_error::UserError;

use super::list;

pub(crate) fn none() -> UserError {
    UserError::new("no buildpack is named, and none of the host's says that the app is its own")
        .hint("BUILDPACK_URL in ENV, or a line each in a file .buildpacks, names them")
}

pub(crate) fn unknown(name: &str, from: &str, there: &[String]) -> UserError {
    let there = if there.is_empty() { "none".to_owned() } else { list(there) };
    UserError::new(format!("{from} names the buildpack '{name}'; the host has {there}"))
        .hint("good are the name of one that the host has, a folder of the app such as './buildpack', and an address such as https://host/repo.git#branch")
}

pub(crate) fn no_folder(path: &str, from: &str) -> UserError {
    UserError::new(format!("{from} names '{path}', and there is no bin/compile in that folder of the app"))
        .hint("a path is one inside the app; what the operator keeps on the host goes by its name alone")
}

pub(crate) fn empty_file(name: &str) -> UserError {
    UserError::new(format!("'{name}' names no buildpack")).hint("one a line, in the order in which they work")
}

pub(crate) fn not_its_own(pack: &str) -> UserError {
    UserError::new(format!("the buildpack '{pack}' does not take this app: its bin/detect says no"))
        .hint("its README says which files it looks for")
}

pub(crate) fn bad_release(why: &str) -> UserError {
    UserError::new(format!("what bin/release prints is not good YAML: {why}"))
        .hint("it is 'default_process_types:' and below it a line for each type, such as '  web: ./server'")
}

pub(crate) fn nothing_started() -> UserError {
    UserError::new("there is no Procfile, and no buildpack says what is to be started")
        .hint("add a file 'Procfile' with a line for each process, such as 'web: ./server --port $PORT'")
}
