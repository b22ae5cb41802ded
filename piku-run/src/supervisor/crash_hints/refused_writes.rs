//! Finds in the last lines of a process that a write was refused because a file system is read-only, and says
//! which path it was and what to set. The lines are the app's own: they are short, plain text, and nothing in
//! them is opened.

/// Longest path that is named, in characters.
const MAX_SHOWN: usize = 120;
/// Text of the kernel's error in every language's messages, in lower case: C, Python, Ruby, Go, Java, PHP,
/// shells and, after `EROFS: `, Node.
const REFUSED: &str = "read-only file system";
/// Names of the error in messages without that text, in lower case.
const REFUSED_NAMES: [&str; 3] = ["erofs", "errno 30]", "readonlyfilesystem"];
/// Messages of sqlite in a folder that cannot be written to, in lower case.
const SQLITE: [&str; 5] = [
    "unable to open database file",
    "attempt to write a readonly database",
    "sqlite_cantopen",
    "sqlite_readonly",
    "attempt to write a read-only database",
];
/// Endings of files that sqlite makes beside a database.
const JOURNALS: [&str; 3] = ["-journal", "-wal", "-shm"];

/// Reason why `/app` is read-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AppTree {
    /// It is writable until the process ends.
    Writable,
    /// `APP_READONLY` is set.
    ReadOnly,
    /// The machine cannot mount overlays.
    NoOverlay,
}

impl AppTree {
    /// Combines the setting of the app with what the machine can do.
    pub(crate) fn new(is_read_only: bool, has_no_overlay: bool) -> Self {
        match (is_read_only, has_no_overlay) {
            (true, _) => Self::ReadOnly,
            (false, true) => Self::NoOverlay,
            (false, false) => Self::Writable,
        }
    }
}

/// Returns one line about the last refused write in `lines`, if there is one. `tree` is called only then.
pub(crate) fn explain_refused_write(lines: &[String], tree: impl FnOnce() -> AppTree) -> Option<String> {
    let refused = lines.iter().rev().find_map(|line| {
        let lower = line.to_lowercase();
        if lower.contains(REFUSED) || REFUSED_NAMES.iter().any(|name| lower.contains(name)) {
            return Some(find_path(line, &lower));
        }
        SQLITE.iter().any(|text| lower.contains(text)).then(|| find_quoted(line).map(str::to_owned))
    })?;
    Some(advise(refused.as_deref(), tree()))
}

fn advise(path: Option<&str>, tree: AppTree) -> String {
    let shown: Option<String> = path.map(|path| path.escape_debug().take(MAX_SHOWN).collect());
    let kept = path.and_then(path_to_keep);
    let what =
        shown.map_or_else(|| "a write was refused".to_owned(), |path| format!("'{path}' is read-only"));
    let keep = match &kept {
        Some(kept) => format!("WRITABLE_PATHS={kept} in ENV keeps it in /data"),
        None => "WRITABLE_PATHS in ENV, such as WRITABLE_PATHS=db.sqlite3,uploads, keeps paths in /data"
            .to_owned(),
    };
    let outside = path.is_some_and(|path| path.starts_with('/')) && kept.is_none();
    match tree {
        AppTree::Writable if kept.is_some() => format!("{what}: {keep}"),
        _ if outside || tree == AppTree::Writable => {
            format!("{what}: an app can write to /data ($DATA_DIR), /app and /tmp")
        }
        AppTree::ReadOnly => format!("{what}, because APP_READONLY is set: {keep}, or remove APP_READONLY"),
        _ => format!(
            "{what}, because this machine cannot make /app writable (piku-chroot --check says why): write below \
             /data ($DATA_DIR), or commit it; then {keep}"
        ),
    }
}

/// Returns the file at the top of the app, or the first folder, that contains a path.
fn path_to_keep(path: &str) -> Option<String> {
    let below = match path.strip_prefix("/app/") {
        Some(below) => below,
        None if path.starts_with('/') || path.starts_with("..") => return None,
        None => path.strip_prefix("./").unwrap_or(path),
    };
    let mut parts = below.split('/').filter(|part| !part.is_empty());
    let first = parts.next()?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
    if !first.chars().all(is_plain) || first == "." || first == ".." {
        return None;
    }
    let file = JOURNALS.iter().find_map(|ending| first.strip_suffix(ending)).unwrap_or(first);
    Some(file.chars().take(MAX_SHOWN).collect())
}

/// Finds the refused path in a line; `lower` is the line in lower case.
fn find_path(line: &str, lower: &str) -> Option<String> {
    // Positions in both are the same only if lower case changed no length.
    let (before, after) = match lower.find(REFUSED) {
        Some(at) if lower.len() == line.len() && line.is_char_boundary(at) => {
            (&line[..at], line.get(at + REFUSED.len()..).unwrap_or_default())
        }
        _ => (line, line),
    };
    // Python: Read-only file system: 'uploads/x'. Node: EROFS: read-only file system, open '/app/x'
    if let Some(quoted) = find_quoted(after) {
        return Some(quoted.to_owned());
    }
    // Ruby: Read-only file system @ rb_sysopen - tmp/x (Errno::EROFS)
    if let Some((_, path)) = after.split_once(" - ").filter(|_| after.trim_start().starts_with('@')) {
        return last_word(path.split(" (").next().unwrap_or(path));
    }
    // sh: cannot create x: Read-only file system. Go: open x: read-only file system.
    // Java: /app/x: Read-only file system, or x (Read-only file system)
    let before = before.trim_end().trim_end_matches(['(', ':', ' ']);
    if before.ends_with('"') {
        return None;
    }
    // PHP: fopen(/app/x): Failed to open stream: Read-only file system
    let call = before.to_lowercase().ends_with("open stream").then(|| before.split_once('('));
    if let Some((_, rest)) = call.flatten() {
        return last_word(rest.split(')').next().unwrap_or(rest));
    }
    find_quoted(before).map(str::to_owned).or_else(|| last_word(before))
}

/// Returns the last quoted part that can be a path.
fn find_quoted(text: &str) -> Option<&str> {
    let mut found = None;
    for (open, close) in [('\'', '\''), ('"', '"'), ('‘', '’'), ('`', '`')] {
        let Some(end) = text.rfind(close) else { continue };
        let Some(start) = text[..end].rfind(open) else { continue };
        let inner = text[start..end].strip_prefix(open).unwrap_or_default();
        let fits = !inner.is_empty() && inner.len() < 512 && !inner.contains(['\'', '"', '(', ')']);
        if fits && found.is_none_or(|(at, _)| start > at) {
            found = Some((start, inner));
        }
    }
    found.map(|(_, inner)| inner)
}

fn last_word(text: &str) -> Option<String> {
    let word = text.split_whitespace().next_back()?.trim_matches([':', ',', ';', '(', ')']);
    let is_path =
        word.contains(['/', '.']) || word.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    (!word.is_empty() && is_path).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(line: &str, tree: AppTree) -> String {
        let lines = ["Traceback (most recent call last):".to_owned(), line.to_owned(), "exit".to_owned()];
        explain_refused_write(&lines, || tree).unwrap_or_default()
    }

    #[test]
    fn the_path_of_each_language_is_found() {
        for (line, path, keep) in [
            ("OSError: [Errno 30] Read-only file system: 'uploads/a.png'", "uploads/a.png", "uploads"),
            ("OSError: [Errno 30] Read-only file system: '/app/instance'", "/app/instance", "instance"),
            ("Error: EROFS: read-only file system, mkdir '/app/.next/cache'", "/app/.next/cache", ".next"),
            ("Error: EROFS: read-only file system, rename 'a' -> 'b/c'", "b/c", "b"),
            ("2026/11/28 open data/x.db: read-only file system", "data/x.db", "data"),
            ("Read-only file system @ rb_sysopen - tmp/pids/s.pid (Errno::EROFS)", "tmp/pids/s.pid", "tmp"),
            (
                "s.rb:1:in `mkdir': Read-only file system @ dir_s_mkdir - storage (Errno::EROFS)",
                "storage",
                "storage",
            ),
            (
                "java.nio.file.FileSystemException: /app/h2.mv.db: Read-only file system",
                "/app/h2.mv.db",
                "h2.mv.db",
            ),
            ("java.io.FileNotFoundException: out.txt (Read-only file system)", "out.txt", "out.txt"),
            ("sh: 1: cannot create .sesskey: Read-only file system", ".sesskey", ".sesskey"),
            ("mkdir: cannot create directory ‘uploads’: Read-only file system", "uploads", "uploads"),
            ("touch: cannot touch './x.txt': Read-only file system", "./x.txt", "x.txt"),
            (
                "PHP Warning:  fopen(/app/x.log): Failed to open stream: Read-only file system",
                "/app/x.log",
                "x.log",
            ),
        ] {
            let told = hint(line, AppTree::ReadOnly);
            assert!(
                told.starts_with(&format!("'{path}' is read-only, because APP_READONLY")),
                "{line}: {told}"
            );
            assert!(told.contains(&format!("WRITABLE_PATHS={keep} in ENV")), "{line}: {told}");
        }
    }

    #[test]
    fn a_database_of_sqlite_is_recognised_without_its_path() {
        for line in [
            "sqlite3.OperationalError: unable to open database file",
            "django.db.utils.OperationalError: attempt to write a readonly database",
            "SqliteError: attempt to write a readonly database",
            "SQLite3::ReadOnlyException: attempt to write a readonly database",
            "[SQLITE_CANTOPEN] Unable to open the database file",
            r#"Os { code: 30, kind: ReadOnlyFilesystem, message: "Read-only file system" }"#,
        ] {
            assert!(hint(line, AppTree::ReadOnly).contains("WRITABLE_PATHS="), "{line}");
            assert!(hint(line, AppTree::Writable).contains("/data"), "{line}");
        }
        let told = hint("Error: EROFS: read-only file system, open 'db.sqlite3-journal'", AppTree::ReadOnly);
        assert!(told.contains("WRITABLE_PATHS=db.sqlite3 "), "{told}");
    }

    #[test]
    fn the_advice_fits_the_place_and_the_machine() {
        let outside = hint("PermissionError: Read-only file system: '/var/lib/app'", AppTree::Writable);
        assert_eq!(
            outside,
            "'/var/lib/app' is read-only: an app can write to /data ($DATA_DIR), /app and /tmp"
        );
        let machine = hint("open uploads/x: read-only file system", AppTree::NoOverlay);
        assert!(machine.contains("this machine cannot make /app writable"), "{machine}");
        assert_eq!(hint("listening on 5000", AppTree::ReadOnly), "");
    }

    #[test]
    fn hostile_lines_give_one_short_plain_line() {
        for line in [
            format!("Read-only file system: '{}'", "a/".repeat(5000)),
            "Read-only file system: 'a\u{1b}[2J\u{7}'".to_owned(),
            "İİİ Read-only file system".to_owned(),
            "'".to_owned() + "Read-only file system" + "'",
            "Read-only file system: '$(reboot)'".to_owned(),
            "‘Read-only file system’".to_owned(),
        ] {
            let told = hint(&line, AppTree::ReadOnly);
            assert!(!told.is_empty() && told.chars().count() < 500, "{told}");
            assert!(!told.chars().any(char::is_control) && !told.contains("=$("), "{told}");
        }
    }
}
