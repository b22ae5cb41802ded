//! Checks before a release is made that the programs of all process types exist and run here. Only simple
//! commands are checked; the shell evaluates the others.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use indexmap::IndexMap;
use piku_layout::name::ProcessName;
use piku_procfile::command;
use piku_procfile::procfile::{ParseOptions, ProcessKind, Procfile, ProcfileEntry};
use piku_report::diagnostic::Diagnostics;
use piku_report::user_error::UserError;

use crate::errors::process_start::{self, StartProblem};
use crate::tree::root_view::{FoundFile, RootView};
use piku_release::elf::ElfFile;
use piku_release::machine::TargetMachine;

/// Characters that a shell replaces by something else.
const EXPANDED: [char; 8] = ['$', '`', '*', '?', '[', '~', '{', '\\'];
/// Number of bytes that show the kind of a file.
const HEAD: u64 = 512;
/// Length of the header of a 32-bit program, in bytes; that of 64 bits is longer.
const SHORTEST_HEADER: u64 = 52;

/// The machine that is to start something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StartTarget<'a> {
    pub(crate) machine: &'a TargetMachine,
    /// True if nothing has checked the level of the programs' architecture yet. Programs compiled on this
    /// machine run here, although parts for newer processors may have marked them with a higher level.
    pub(crate) judges_levels: bool,
}

/// Checks the command of each process type.
///
/// # Errors
/// Fails with everything that is missing or cannot run here, at once.
pub(crate) fn check(
    processes: &IndexMap<ProcessName, String>,
    view: &RootView,
    on: StartTarget<'_>,
) -> Result<Vec<String>, UserError> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let entries = parse(processes).map_err(|found| process_start::cannot_read(&found))?;
    for entry in entries {
        match check_entry(&entry, view, on) {
            Ok(warning) => warnings.extend(warning.map(|text| format!("{}: {text}", entry.name))),
            Err(problem) => problems.push((entry, problem)),
        }
    }
    if problems.is_empty() { Ok(warnings) } else { Err(process_start::cannot_start(&problems)) }
}

/// Parses the process types as lines of a Procfile: only its parser tells a schedule from a command. Returns none if
/// one is refused, which [`check`] reports.
pub(crate) fn parse_entries(processes: &IndexMap<ProcessName, String>) -> Vec<ProcfileEntry> {
    parse(processes).unwrap_or_default()
}

fn parse(processes: &IndexMap<ProcessName, String>) -> Result<Vec<ProcfileEntry>, Diagnostics> {
    let lines: Vec<_> = processes.iter().map(|(name, command)| format!("{name}: {command}")).collect();
    let procfile = Procfile::parse(lines.join("\n").as_bytes(), ParseOptions::default())?;
    Ok(procfile.entries)
}

/// Returns the words of a command if it is one simple command with a literal program name.
pub(crate) fn split_simple(text: &str) -> Option<Vec<String>> {
    if command::argv(text)[2] == text {
        return None;
    }
    let words = shell_words::split(text).ok()?;
    let first = words.first()?;
    (!first.is_empty() && !first.contains(EXPANDED)).then_some(words)
}

/// Checks that the program or script that an entry starts exists. Returns a warning if it probably fails.
fn check_entry(
    entry: &ProcfileEntry,
    view: &RootView,
    on: StartTarget<'_>,
) -> Result<Option<String>, StartProblem> {
    if entry.kind == ProcessKind::Static {
        return folder(&entry.command, view).map(|()| None);
    }
    let Some(words) = split_simple(&entry.command) else { return Ok(None) };
    let program = &words[0];
    let found = if program.contains('/') {
        view.find(Path::new(program)).ok_or_else(|| explain_missing(program, view))?
    } else {
        view.program(program).ok_or_else(|| {
            let beside = view.find(Path::new(program)).is_some_and(|found| found.place.is_file());
            StartProblem::missing_program(program, beside)
        })?
    };
    let warning = if view.is_app_file(&found) {
        executable(program, &found, view, on)?
    } else {
        present(program, &found)?
    };
    if let Some(script) = find_script(&words) {
        let found = view.find(Path::new(script));
        if !found.is_some_and(|found| found.place.is_file()) {
            return Err(explain_missing(script, view));
        }
    }
    Ok(warning)
}

/// Explains why a path leads to nothing: the advice about git helps if the file is missing, not if a link is
/// broken.
fn explain_missing(path: &str, view: &RootView) -> StartProblem {
    let below = Path::new(path).strip_prefix(&view.app).unwrap_or(Path::new(path));
    let is_link = view.tree.symlink_metadata(below).is_ok_and(|stat| stat.is_symlink());
    if is_link { StartProblem::dead_link(path) } else { StartProblem::missing_file(path) }
}

/// Checks a directory for the web server; nginx's renderer checks unusual paths.
fn folder(path: &str, view: &RootView) -> Result<(), StartProblem> {
    if path.contains(EXPANDED) || path.contains([':', ' ']) {
        return Ok(());
    }
    match view.find(Path::new(path.trim_start_matches('/'))) {
        Some(found) if found.place.is_dir() => Ok(()),
        _ => Err(StartProblem::missing_folder(path)),
    }
}

/// Checks that a program of the host or of a layer exists and is executable.
fn present(program: &str, found: &FoundFile) -> Result<Option<String>, StartProblem> {
    if found.place.runs() { Ok(None) } else { Err(StartProblem::not_executable(program, false)) }
}

/// Checks that the kernel of this machine can execute a file of the app.
fn executable(
    program: &str,
    found: &FoundFile,
    view: &RootView,
    on: StartTarget<'_>,
) -> Result<Option<String>, StartProblem> {
    if found.place.is_dir() {
        return Err(StartProblem::is_folder(program));
    }
    if !found.place.runs() {
        return Err(StartProblem::not_executable(program, true));
    }
    let mut head = Vec::new();
    let file = found.place.open().map_err(|err| StartProblem::unreadable(program, &err))?;
    (&file).take(HEAD).read_to_end(&mut head).map_err(|err| StartProblem::unreadable(program, &err))?;
    if head.is_empty() {
        return Err(StartProblem::empty(program));
    }
    if head.starts_with(b"\x7fELF") {
        return elf(program, &file, view, on).map(|()| None);
    }
    if head.starts_with(b"#!") {
        return interpreter(program, &head, view).map(|()| None);
    }
    refuse_foreign(program, &head)?;
    Ok(Some(format!("'{program}' has no '#!' line: the shell will take it for a shell script")))
}

/// Checks an ELF program: its architecture, and that its loader exists.
fn elf(program: &str, file: &File, view: &RootView, on: StartTarget<'_>) -> Result<(), StartProblem> {
    let elf = ElfFile::read(file).map_err(|err| StartProblem::unreadable(program, &err))?;
    let Some(elf) = elf else {
        let length = file.metadata().map_err(|err| StartProblem::unreadable(program, &err))?.len();
        let is_header = length >= SHORTEST_HEADER;
        return Err(if is_header {
            StartProblem::object_file(program)
        } else {
            StartProblem::truncated(program)
        });
    };
    if !elf.is_complete {
        return Err(StartProblem::truncated(program));
    }
    let its = &elf.architecture;
    let is_family = on.machine.programs().iter().any(|one| one.family() == its.family());
    if !is_family || on.judges_levels && !on.machine.runs(its) {
        return Err(if view.cross.is_some() {
            StartProblem::wrong_target(program, its, on.machine)
        } else {
            StartProblem::wrong_machine(program, its, on.machine)
        });
    }
    if view.cross.is_some() {
        // Its loader is that machine's, which looks for it when it takes the release.
        return Ok(());
    }
    match elf.loader {
        Some(loader) if view.find(&loader).is_none() => Err(StartProblem::missing_loader(program, &loader)),
        _ => Ok(()),
    }
}

/// Checks that the interpreter of a script exists.
fn interpreter(program: &str, head: &[u8], view: &RootView) -> Result<(), StartProblem> {
    let line = head[2..].split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    if line.ends_with('\r') {
        return Err(StartProblem::windows_lines(program));
    }
    let mut words = line.split_whitespace();
    let interpreter = words.next().unwrap_or_default();
    let there = view.find(Path::new(interpreter)).is_some_and(|found| found.place.runs());
    if !there || !interpreter.starts_with('/') {
        return Err(StartProblem::missing_interpreter(program, interpreter));
    }
    if Path::new(interpreter).ends_with("env") {
        let asked = words.find(|word| !word.starts_with('-') && !word.contains('='));
        if let Some(asked) = asked.filter(|asked| !asked.contains('/') && view.program(asked).is_none()) {
            return Err(StartProblem::missing_interpreter(program, asked));
        }
    }
    Ok(())
}

/// Refuses programs for other systems and placeholders of files that git did not fetch.
fn refuse_foreign(program: &str, head: &[u8]) -> Result<(), StartProblem> {
    const MACH_O: [[u8; 4]; 5] = [
        [0xfe, 0xed, 0xfa, 0xce],
        [0xfe, 0xed, 0xfa, 0xcf],
        [0xce, 0xfa, 0xed, 0xfe],
        [0xcf, 0xfa, 0xed, 0xfe],
        [0xca, 0xfe, 0xba, 0xbe],
    ];
    if head.starts_with(b"MZ") {
        Err(StartProblem::other_system(program, "Windows"))
    } else if MACH_O.iter().any(|magic| head.starts_with(magic)) {
        Err(StartProblem::other_system(program, "macOS"))
    } else if head.starts_with(b"version https://git-lfs") {
        Err(StartProblem::large_file_pointer(program))
    } else {
        Ok(())
    }
}

/// Returns the file that a well-known interpreter runs: `python app.py`, `sh run.sh`, `java -jar app.jar`.
pub(crate) fn find_script(words: &[String]) -> Option<&str> {
    let name = Path::new(words.first()?).file_name()?.to_str()?;
    // Options that take an argument, and options after which no script follows.
    let (with_value, none): (&[&str], &[char]) = match name {
        "java" => {
            let jar = words.iter().skip_while(|word| *word != "-jar").nth(1);
            return jar.map(String::as_str).filter(|jar| !jar.contains(EXPANDED));
        }
        "sh" | "bash" | "dash" => (&["-o", "+o", "--rcfile"], &['c', 's']),
        name if is_python(name) => (&["-X", "-W", "--check-hash-based-pycs"], &['c', 'm']),
        _ => return None,
    };
    let mut rest = words[1..].iter();
    while let Some(word) = rest.next() {
        if with_value.contains(&word.as_str()) {
            rest.next();
        } else if let Some(letters) = word.strip_prefix('-') {
            if !letters.starts_with('-') && letters.contains(none) || letters.is_empty() {
                return None;
            }
        } else {
            return (!word.contains(EXPANDED)).then_some(word);
        }
    }
    None
}

/// `python`, `python3`, `python3.11`.
pub(crate) fn is_python(name: &str) -> bool {
    name.strip_prefix("python")
        .is_some_and(|version| version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        shell_words::split(text).unwrap()
    }

    #[test]
    fn only_plain_commands_are_judged() {
        for plain in ["./server --port $PORT", "gunicorn app:app", "'./my server'"] {
            assert!(split_simple(plain).is_some(), "{plain}");
        }
        for other in ["cd x && ./y", "$BIN/x", "~/x", "A=1 ./x", "./x | ./y", "exec ./x", "./x 'y", "bin/*"] {
            assert!(split_simple(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_program_for_a_newer_arm_is_refused_where_nobody_has_judged_it() {
        let dir = tempfile::tempdir().unwrap();
        let server = dir.path().join("server");
        std::fs::write(&server, piku_tests::elf::arm_program(b"\x06\x0a\x0a\x03")).unwrap();
        std::fs::set_permissions(&server, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let view =
            RootView::new(piku_files::TreeHandle::open(dir.path()).unwrap(), false, Vec::new(), "/usr/bin");
        let processes = IndexMap::from([("web".parse().unwrap(), "./server".to_owned())]);
        let on = |machine: &str, judges_levels| {
            let machine = TargetMachine::parse(machine).unwrap();
            let checked = check(&processes, &view, StartTarget { machine: &machine, judges_levels });
            checked.map_err(|err| err.to_string())
        };
        assert_eq!(on("armv7l", true), Ok(Vec::new()));
        assert_eq!(on("armv8l, aarch64", true), Ok(Vec::new()));
        assert_eq!(on("armv6l", false), Ok(Vec::new()));
        let refused = on("armv6l", true).unwrap_err();
        assert!(refused.contains("'./server' is a program for armv7l, this machine is armv6l"), "{refused}");
        let refused = on("x86_64-v3", false).unwrap_err();
        assert!(refused.contains("is a program for armv7l, this machine is x86_64"), "{refused}");
    }

    #[test]
    fn scripts_of_interpreters() {
        assert_eq!(find_script(&words("python -u -X dev app.py --x")), Some("app.py"));
        assert_eq!(find_script(&words("/usr/bin/python3.11 app.py")), Some("app.py"));
        assert_eq!(find_script(&words("python -m http.server")), None);
        assert_eq!(find_script(&words("python -um http.server")), None);
        assert_eq!(find_script(&words("sh -eu run.sh")), Some("run.sh"));
        assert_eq!(find_script(&words("bash -o pipefail run.sh")), Some("run.sh"));
        assert_eq!(find_script(&words("sh -ec 'echo a'")), None);
        assert_eq!(find_script(&words("java -Dx=$PORT -jar target/app.jar --x")), Some("target/app.jar"));
        assert_eq!(find_script(&words("java -jar target/*.jar")), None);
        assert_eq!(find_script(&words("java -cp x Main")), None);
        assert_eq!(find_script(&words("python $MAIN")), None);
        assert_eq!(find_script(&words("pythonic app.py")), None);
        assert_eq!(find_script(&words("python")), None);
    }
}
