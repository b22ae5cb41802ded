//! Recognises that an app has failed because it may not use a device or socket of the machine: the last lines
//! of its log name one.

#![expect(clippy::disallowed_methods, reason = "looks whether a path of the host exists; nothing is opened")]

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use piku_layout::name::AppName;
use piku_layout::paths::PikuRoot;
use piku_layout::settings::GrantedPath;

use super::{GrantProblem, resolve_grant};

/// Directories whose paths are looked for.
const PLACES: [&str; 3] = ["/dev/", "/run/", "/var/run/"];
/// Directories of those that are never granted as a whole.
const SHARED_FOLDERS: [&str; 3] = ["/dev", "/run", "/var/run"];
/// Largest number of paths that are looked up on the machine.
const MOST_PATHS: usize = 50;

/// Returns a line with the command that grants the first device or socket that the lines name, that is on
/// this machine, and that the app may not use: `is_granted` is asked last.
pub(crate) fn explain_missing(
    root: &PikuRoot,
    app: &AppName,
    is_granted: impl Fn(&Path) -> bool,
    lines: &[String],
) -> Option<String> {
    let named = lines.iter().rev().flat_map(|line| find_paths(line)).take(MOST_PATHS);
    named.into_iter().find_map(|named| {
        let path: GrantedPath = named.parse().ok()?;
        let text = path_to_grant(path.path())?.to_str()?;
        if is_granted(path.path()) {
            return None;
        }
        match resolve_grant(root, &text.parse().ok()?) {
            Ok(_) => Some(format!(
                "{app} may not use {}; the operator can grant it: piku grant {app} {}",
                path.path().display(),
                quote(text)
            )),
            Err(GrantProblem::Missing | GrantProblem::Refused { .. }) => None,
        }
    })
}

/// Returns the path to grant for the use of a device, a socket or a directory; nothing if no grant would help.
fn path_to_grant(path: &Path) -> Option<&Path> {
    let folder =
        path.parent().filter(|folder| !SHARED_FOLDERS.contains(&folder.to_str().unwrap_or_default()));
    let Ok(about) = fs::metadata(path).map(|about| about.file_type()) else {
        // The server of the socket is down.
        return folder.filter(|folder| is_socket_name(path) && folder.is_dir());
    };
    match about {
        // A server makes its socket anew at each start, and only a directory shows the new one.
        about if about.is_socket() => Some(folder.unwrap_or(path)),
        // Never a disk: an app could print its name to have it granted.
        about if about.is_char_device() || about.is_dir() => Some(path),
        _ => None,
    }
}

/// Returns whether servers name their sockets so.
fn is_socket_name(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(".s.PGSQL.") || [".sock", ".socket"].iter().any(|ending| name.ends_with(ending))
}

/// Returns the paths below [`PLACES`] in a line, without punctuation around them.
fn find_paths(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = PLACES.iter().filter_map(|place| line[from..].find(place)).min() {
        let start = from + at;
        let before = &line[..start];
        // Not the end of another path; a URL such as unix:///run/x ends with its path.
        let is_whole = before.ends_with("://") || !before.ends_with(is_part);
        let text: &str = line[start..].split(|c: char| !is_part(c)).next().unwrap_or_default();
        from = start + text.len().max(1);
        if is_whole {
            found.push(text.trim_end_matches('.'));
        }
    }
    found
}

/// Returns whether a path of a device or socket may have this character.
fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/._-+@".contains(c)
}

/// Quotes a word for a shell if necessary.
fn quote(text: &str) -> String {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+@".contains(c));
    if is_plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_of_a_server_that_is_down_leads_to_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        for name in [".s.PGSQL.5432", "mysqld.sock", "x.socket"] {
            assert_eq!(path_to_grant(&folder.join(name)), Some(folder), "{name}");
        }
        let socket = folder.join("up.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(path_to_grant(&socket), Some(folder));
        fs::write(folder.join("file.sock"), "").unwrap();
        for path in [
            folder.join("pid"),
            folder.join("file.sock"),
            folder.join("gone/x.sock"),
            "/run/nowhere.sock".into(),
        ] {
            assert_eq!(path_to_grant(&path), None, "{path:?}");
        }
        assert_eq!(path_to_grant(Path::new("/dev/null")), Some(Path::new("/dev/null")));
    }

    #[test]
    fn paths_in_lines_of_programs() {
        for (line, paths) in [
            ("FileNotFoundError: [Errno 2] No such file or directory: '/dev/i2c-1'", &["/dev/i2c-1"][..]),
            (r#"    s.connect("/run/postgresql/.s.PGSQL.5432")"#, &["/run/postgresql/.s.PGSQL.5432"]),
            ("open /dev/gpiochip0: no such file", &["/dev/gpiochip0"]),
            ("connect unix /var/run/redis/redis.sock: connect: no such file", &["/var/run/redis/redis.sock"]),
            ("Error: ENOENT: no such file or directory, open /dev/ttyUSB0.", &["/dev/ttyUSB0"]),
            ("/dev/a,/dev/b", &["/dev/a", "/dev/b"]),
            ("unix:///run/x.sock and unix:/run/y and /home/dev/y and ./run/z", &["/run/x.sock", "/run/y"]),
            ("nothing here", &[]),
        ] {
            assert_eq!(find_paths(line), paths, "{line}");
        }
    }
}
