//! Errors about layers.

use piku_files::FileKind;
use piku_report::user_error::UserError;

pub(crate) fn swapped(name: &str, folder: &str, kind: FileKind) -> UserError {
    UserError::new(format!("the steps of the layer '{name}' left {} in place of the folder '{folder}'", kind.name()))
        .hint(format!(
            "an install script of a dependency has moved or replaced '{folder}': find it with 'grep -r install {folder}/*/package.json', \
             remove that dependency and push again"
        ))
}
