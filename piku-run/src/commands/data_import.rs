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

use crate::instance::data_jail::jail_command;
use crate::process::caller_guard::{self, CallerGuard};
use crate::process::standard_input::expect_input;
use crate::releases::current;

/// Exit code of the script if another import is in progress.
const IS_BUSY: i32 = 75;
/// Exit code of the script if the archive was not unpacked to its end.
const IS_CUT: i32 = 2;
/// Exit code of the script if something in the data is in the way of the archive.
const IS_IN_THE_WAY: i32 = 3;

/// Imports into the folder that is the first argument; with `finish` as the second one, only completes or removes what
/// a killed import has left. `.piku-import.new` is being unpacked; as `.piku-import` it is whole. The lock is that of the
/// folder, so that no file is left of it. A file takes the place of another one in one step.
///
/// Obstacles in the data are found before anything is moved. An app can make one after that: the import fails, and the next
/// one removes the rest of it.
const IMPORT: &str = r#"set -u
cd -- "$1" || exit 1
exec 9<.
part=.piku-import.new whole=.piku-import modes=.piku-import.modes
discard() {
    for name; do
        [ -L "$name" ] || chmod -R u+rwX -- "$name" 2>/dev/null
        rm -rf -- "$name"
    done
}
# Opens the directories of the archive that are closed to their owner, and lists their depths and modes.
open_closed() {
    chmod u+rwx -- "$part" && (
        cd -- "$part" &&
            find . -mindepth 1 -type d ! -perm -700 -printf '%d %m %p\0' -exec chmod u+rwx {} \;
    ) >"$modes"
}
close_again() {
    [ ! -s "$modes" ] || sort -znr -- "$modes" | xargs -0 sh -c '
        for one; do
            one=${one#* }
            chmod -- "${one%% *}" "${one#* }" 2>/dev/null
        done' sh
}
# As tar does: a file or a link gives way to a directory, an empty directory to a file. Nothing is made in a directory that
# is closed. What lies behind a link is not in the way: the link gives way.
fits() (
    names='
        refuse() {
            above=${1%/*}
            while [ "$above" != . ]; do
                [ ! -L "../$above" ] || return 0
                above=${above%/*}
            done
            printf "%s: %s\n" "$1" "$2" | tr -d "\001-\011\013-\037\177" >&2
            exit 1
        }
        is_folder() { [ -d "../$1" ] && [ ! -L "../$1" ]; }'
    cd -- "$part" && find . -mindepth 1 -type d -exec sh -c "$names"'
        for name; do
            if is_folder "$name" && ! { [ -r "../$name" ] && [ -w "../$name" ] && [ -x "../$name" ]; }; then
                refuse "$name" "the app has closed this directory of its data"
            fi
        done' sh {} + && find . ! -type d -exec sh -c "$names"'
        for name; do
            if is_folder "$name" && [ -n "$(ls -A -- "../$name")" ]; then
                refuse "$name" "a file in the archive, a directory with files in the data"
            fi
        done' sh {} +
)
finish() {
    discard "$part"
    if [ -L "$whole" ] || [ ! -d "$whole" ]; then
        discard "$whole" "$modes"
        return
    fi
    chmod u+rwx -- "$whole" 2>/dev/null
    (cd -- "$whole" && find . -mindepth 1 -type d -exec sh -c '
        for name; do
            if [ -L "../$name" ] || [ ! -d "../$name" ]; then rm -f -- "../$name"; fi
        done' sh {} + && find . ! -type d -exec sh -c '
        for name; do
            if [ -d "../$name" ] && [ ! -L "../$name" ]; then rmdir -- "../$name" || exit 1; fi
        done' sh {} +) &&
        cp -alfT -- "$whole" . && close_again && discard "$whole" "$modes"
}
case ${2-} in
    finish) flock 9 && finish; exit ;;
esac
flock -n 9 || exit 75
finish || discard "$whole" "$modes"
mkdir -m 700 -- "$part" || exit 1
# The mode of the folder itself is that of the archive, if it has one.
chmod --reference=. -- "$part"
tar -x -C "$part" && open_closed || { discard "$part" "$modes"; exit 2; }
# Names of ours, which an app may have used.
discard "$part/$part" "$part/$whole" "$part/$modes"
fits || { discard "$part" "$modes"; exit 3; }
sync -f . && mv -T -- "$part" "$whole" || { discard "$part" "$modes"; exit 2; }
finish
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
        Some(IS_CUT) => {
            guard.end();
            let what =
                format!("the archive on stdin was not unpacked to its end: the data of {app} is unchanged");
            let hint = "it must be a tar archive that is not compressed, as 'piku data:export' writes it";
            return Err(UserError::new(what).hint(hint).into());
        }
        Some(IS_IN_THE_WAY) => {
            guard.end();
            let what = format!("the archive does not fit into the data of {app}, which is unchanged");
            let hint = format!("the line above names what is in its way; to look at it: piku run {app} sh");
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::PathBuf;
    use std::process::{Command, Stdio};

    use super::*;

    /// The data of an app, and a tree for an archive.
    struct ImportPlace {
        dir: tempfile::TempDir,
    }

    impl ImportPlace {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for name in ["data", "tree"] {
                fs::create_dir(dir.path().join(name)).unwrap();
            }
            Self { dir }
        }

        fn path(&self, below: &str) -> PathBuf {
            self.dir.path().join(below)
        }

        fn sh(&self, script: &str) -> String {
            let out =
                Command::new("sh").args(["-euc", script]).current_dir(self.dir.path()).output().unwrap();
            assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8(out.stdout).unwrap()
        }

        /// Imports the tree; returns the exit code and what was said.
        fn import(&self) -> (Option<i32>, String) {
            self.sh("tar -C tree -cf archive .");
            let mut sh = Command::new("sh");
            sh.args(["-c", IMPORT, "sh"]).arg(self.path("data")).env("LC_ALL", "C.UTF-8");
            let out = sh.stdin(fs::File::open(self.path("archive")).unwrap()).output().unwrap();
            (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
        }

        /// Returns all that is in the data, with its kind and content.
        fn files(&self) -> String {
            let list = "cd data; find . -mindepth 1 -printf '%y %p\\n' | sort; find . -type f -print0 | sort -z | xargs -0 -r cat";
            self.sh(list)
        }
    }

    #[test]
    fn files_and_directories_take_the_place_of_each_other() {
        let place = ImportPlace::new();
        place.sh(
            "cd data; echo old >file; mkdir -p empty around/empty; ln -s other around/link; ln -s around/empty dir
             echo kept >other; mkdir -p behind/full; touch behind/full/x; ln -s behind away
             cd ../tree; mkdir -p file dir around away; echo 1 >file/new; echo 2 >empty; echo 3 >around/empty
             echo 4 >around/link; echo 5 >dir/new; echo 6 >away/full",
        );
        assert_eq!(place.import(), (Some(0), String::new()));
        let expected = "d ./around\nd ./away\nd ./behind\nd ./behind/full\nd ./dir\nd ./file\nf ./around/empty\n\
                        f ./around/link\nf ./away/full\nf ./behind/full/x\nf ./dir/new\nf ./empty\nf ./file/new\n\
                        f ./other\n3\n4\n6\n5\n2\n1\nkept\n";
        assert_eq!(place.files(), expected);
    }

    #[test]
    fn what_is_in_the_way_refuses_an_archive_and_not_the_next_one() {
        let place = ImportPlace::new();
        place.sh("mkdir -p data/a/full; echo kept >data/a/full/x; mkdir tree/a; echo new >tree/a/full; echo new >tree/b");
        let before = place.files();
        let (code, said) = place.import();
        assert_eq!(code, Some(IS_IN_THE_WAY), "{said}");
        assert_eq!(said, "./a/full: a file in the archive, a directory with files in the data\n");
        assert_eq!(place.files(), before);
        // Such a thing appears after an archive was found to fit.
        place.sh("cp -a tree data/.piku-import; rm tree/a/full");
        assert_eq!(
            place.import(),
            (Some(0), String::from("rmdir: failed to remove '.././a/full': Directory not empty\n"))
        );
        assert_eq!(place.files(), "d ./a\nd ./a/full\nf ./a/full/x\nf ./b\nkept\nnew\n");
        // Root needs no permissions.
        if nix::unistd::geteuid().is_root() {
            return;
        }
        place.sh("mkdir tree/a/full; echo new >tree/a/full/x; chmod 500 data/a/full");
        let (code, said) = place.import();
        assert_eq!(code, Some(IS_IN_THE_WAY), "{said}");
        assert_eq!(said, "./a/full: the app has closed this directory of its data\n");
        place.sh("chmod 700 data/a/full");
        assert_eq!(place.import(), (Some(0), String::new()));
    }

    #[test]
    fn directories_that_are_closed_in_an_archive_are_closed_again() {
        let place = ImportPlace::new();
        place.sh(
            "cd tree; mkdir -p 'a b/closed/inner'; echo 1 >'a b/closed/file'; echo 2 >'a b/closed/inner/file'
             chmod 500 'a b/closed/inner'; chmod 550 'a b/closed'",
        );
        assert_eq!(place.import(), (Some(0), String::new()));
        let mode = |path: &str| {
            fs::metadata(place.path("data").join(path)).map(|meta| meta.mode() & 0o7777).unwrap()
        };
        assert_eq!((mode("a b/closed"), mode("a b/closed/inner")), (0o550, 0o500));
        place.sh("chmod -R u+rwX data tree");
        assert!(!place.files().contains(".piku"));
        assert_eq!(place.sh("cd 'data/a b/closed'; cat file inner/file"), "1\n2\n");
    }

    #[test]
    fn leftovers_of_any_kind_are_replaced() {
        let place = ImportPlace::new();
        place.sh("echo new >tree/x; mkdir other; echo safe >other/x; echo safe >other/y");
        for name in [".piku-import", ".piku-import.new", ".piku-import.modes"] {
            symlink("../other", place.path("data").join(name)).unwrap();
            assert_eq!(place.import(), (Some(0), String::new()), "a link as {name}");
            fs::write(place.path("data").join(name), "").unwrap();
            assert_eq!(place.import(), (Some(0), String::new()), "a file as {name}");
            fs::create_dir_all(place.path("data").join(name).join("below")).unwrap();
            fs::set_permissions(place.path("data").join(name), fs::Permissions::from_mode(0o300)).unwrap();
            assert_eq!(place.import(), (Some(0), String::new()), "a directory as {name}");
        }
        assert!(fs::read(place.path("other/x")).unwrap() == b"safe\n" && place.path("other/y").exists());
    }

    #[test]
    fn names_of_ours_in_an_archive_are_left_out() {
        let place = ImportPlace::new();
        place.sh("cd tree; echo new >x; mkdir .piku-import.new; echo 1 >.piku-import.new/a; echo 2 >.piku-import; ln -s x .piku-import.modes");
        assert_eq!(place.import(), (Some(0), String::new()));
        assert_eq!(place.files(), "f ./x\nnew\n");
    }

    #[test]
    fn one_import_at_a_time() {
        let place = ImportPlace::new();
        place.sh("echo new >tree/x");
        let mut sh = Command::new("sh");
        let mut first =
            sh.args(["-c", IMPORT, "sh"]).arg(place.path("data")).stdin(Stdio::piped()).spawn().unwrap();
        piku_tests::world::wait_for("the first import", || place.path("data/.piku-import.new").exists());
        assert_eq!(place.import(), (Some(IS_BUSY), String::new()));
        let mut stdin = first.stdin.take().unwrap();
        std::io::copy(&mut fs::File::open(place.path("archive")).unwrap(), &mut stdin).unwrap();
        drop(stdin);
        assert!(first.wait().unwrap().success());
        assert_eq!(place.files(), "f ./x\nnew\n");
    }
}
