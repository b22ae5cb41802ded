//! `data APP import`: unpacks an archive beside the files of the app, and moves its files in place when it is whole. An
//! import that fails changes nothing; one that is killed changes nothing, or is completed by a guard.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use piku_layout::jail::DATA;
use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_report::progress;
use piku_report::user_error::{BUSY, UserError};

use super::data_jail::jail_command;
use crate::process::caller_guard::{self, CallerGuard};
use crate::process::standard_input::expect_input;
use crate::releases::current;

/// Exit code of the script if another import is in progress.
const IS_BUSY: i32 = 75;

/// Imports into the folder that is the first argument; with `finish` as the second one, only completes or removes what
/// a killed import has left. `.piku-import.new` is being unpacked; as `.piku-import` it is whole. The lock is that of the
/// folder, so that no file is left of it. A file takes the place of another one in one step.
const IMPORT: &str = r#"set -u
cd -- "$1" || exit 1
exec 9<.
part=.piku-import.new whole=.piku-import
finish() {
    chmod -R u+rwX "$part" 2>/dev/null
    rm -rf -- "$part"
    [ -d "$whole" ] || return 0
    # As tar does: a file or a link gives way to a directory, an empty directory to a file.
    (cd -- "$whole" && find . -mindepth 1 -type d -exec sh -c '
        for name; do
            if [ -L "../$name" ] || [ ! -d "../$name" ]; then rm -f -- "../$name"; fi
        done' sh {} + && find . ! -type d -exec sh -c '
        for name; do
            if [ -d "../$name" ] && [ ! -L "../$name" ]; then rmdir -- "../$name" || exit 1; fi
        done' sh {} +) &&
        cp -alfT -- "$whole" . && rm -rf -- "$whole"
}
case ${2-} in
    finish) flock 9 && finish; exit ;;
esac
flock -n 9 || exit 75
finish && mkdir -m 700 -- "$part" || exit 1
# The mode of the folder itself is that of the archive, if it has one.
chmod --reference=. -- "$part"
if tar -x -C "$part" && sync -f . && mv -T -- "$part" "$whole"; then finish; exit; fi
finish
exit 2
"#;

/// Unpacks the archive on stdin into the data folder.
///
/// # Errors
/// Fails if tar does, which has said why; nothing has changed then.
pub(super) fn import(root: &PikuRoot, app: &AppName, data: &Path) -> anyhow::Result<ExitCode> {
    expect_input("an archive", &format!("piku data:import {app} <{app}.tar"))?;
    current::create_data_dir(&root.app(app))?;
    let guard = CallerGuard::start(root, &["data", app.as_str(), "import", "--resume"])?;
    let status = jail_command(root, app, data, &["sh", "-c", IMPORT, "sh", DATA])?
        .status()
        .context("cannot run 'tar'")?;
    match status.code() {
        Some(0) => {}
        Some(IS_BUSY) => {
            guard.end();
            let what = format!("another archive is being unpacked into the data of {app}");
            return Err(UserError::new(what).hint("try again when that has ended").code(BUSY).into());
        }
        Some(2) => {
            guard.end();
            let what =
                format!("the archive on stdin was not unpacked to its end: the data of {app} is unchanged");
            let hint = "it must be a tar archive that is not compressed, as 'piku data:export' writes it";
            return Err(UserError::new(what).hint(hint).into());
        }
        // What it has left is for the guard.
        _ => {
            let what = format!("the archive is not, or not wholly, in the data of {app}");
            return Err(UserError::new(what).hint("import it again").into());
        }
    }
    guard.end();
    progress::step(&format!("the archive is unpacked into the data of {app}"));
    Ok(ExitCode::SUCCESS)
}

/// Completes in the guard what a killed import has begun, or removes it.
pub(super) fn resume(root: &PikuRoot, app: &AppName, data: &Path) -> anyhow::Result<ExitCode> {
    caller_guard::wait_for_caller()?;
    let status = jail_command(root, app, data, &["sh", "-c", IMPORT, "sh", DATA, "finish"])?.status();
    ensure!(
        status.context("cannot run 'sh'")?.success(),
        "cannot complete the import into the data of {app}"
    );
    Ok(ExitCode::SUCCESS)
}
