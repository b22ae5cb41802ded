//! Errors about static files.

use piku_report::user_error::UserError;

pub(crate) fn misspelt(name: &str) -> UserError {
    UserError::new(format!(
        "this looks like pages for the web server, but the first is '{name}'; expected 'index.html'"
    ))
    .hint(format!("git mv {name} index.html"))
}

pub(crate) fn is_source(part: &str) -> UserError {
    UserError::new(format!(
        "index.html is the source of a front end: it loads '{part}', which no browser reads, and nothing here builds it"
    ))
    .hint("commit the package.json with its build script; or build it on your machine and commit the folder that it makes")
}

pub(crate) fn no_page() -> UserError {
    UserError::new("there is no page to serve: no index.html at the top or in public/")
        .hint("a Procfile with the line 'static: FOLDER' names another folder")
}

/// A script among the pages, whose text everybody can read.
pub(crate) fn shown_source(name: &str) -> String {
    format!("'{name}' is not run: the web server shows its text to every visitor")
}

/// Symlinks among the pages: nginx cannot keep them inside the app.
pub(crate) fn unserved_links(first: &str, more: usize) -> String {
    let others = match more {
        0 => "is a symlink, which nginx does not serve".to_owned(),
        1 => "and another symlink are not served by nginx".to_owned(),
        _ => format!("and {more} other symlinks are not served by nginx"),
    };
    format!("'{first}' {others}: commit the files themselves")
}

/// A cluster runs processes, and nginx is no part of an image.
pub(crate) fn no_process_for_pods() -> UserError {
    UserError::new("the app runs in a cluster (kubernetes of deploy_to in host.yaml), and it has static files alone: no pod would serve them")
        .hint("name a program that serves them as 'web' in the Procfile, or remove the lines in host.yaml: this machine's nginx serves files")
}
