//! Prepares the outside: a secret file, open descriptors, a process of the same user, queues, shared memory,
//! sockets, keys, a terminal. Then starts the jail with the attack in it; when it has ended, everything must
//! be unchanged.
//!
//! The maker of the jail does not matter: a jail is a command line that ends with the path of this program
//! inside.

mod ipc;
mod keys;
mod scene;
mod terminal;

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use crate::row::Row;
use crate::sys::{self, call};
use crate::verdict::Verdict;
use crate::{rows, say};
use scene::Scene;

/// Time limit of an attack: polls of [`PAUSE`].
const PATIENCE: u32 = 24_000;
const PAUSE: Duration = Duration::from_millis(5);

/// The end of a jail that is killed as a whole.
const KILLED: &str = "it said nothing and ended with exit status: 137";

/// Runs the named attacks, a line each; `None` if the command line is wrong.
pub(crate) fn run(words: &[String]) -> Option<ExitCode> {
    let at = words.iter().position(|word| word == "--")?;
    let (told, jail) = (&words[..at], &words[at + 1..]);
    let (facts, names): (Vec<String>, Vec<String>) =
        told.iter().cloned().partition(|word| word.contains('='));
    let rows: Vec<&Row> = match names.as_slice() {
        [all] if all == "all" => rows::all().collect(),
        names => names.iter().map(|name| rows::find(name)).collect::<Option<_>>()?,
    };
    let (_, _) = (rows.first()?, jail.first()?);
    // A session keyring of our own, so that our keys are left to no other process.
    keys::begin_session();
    let mut worst = Verdict::Untried(String::new());
    for row in &rows {
        let verdict = attack(row, &facts, jail);
        if let Some(code) = say(&format!("{} | {}", row.name, verdict.line())) {
            return Some(code);
        }
        match (&verdict, &worst) {
            (Verdict::Broken(_), _) | (Verdict::Held(_), Verdict::Untried(_)) => worst = verdict,
            _ => {}
        }
    }
    Some(worst.code())
}

/// Prepares the outside for attacks that another process starts, and checks it again when the input has
/// ended.
pub(crate) fn prepare() -> ExitCode {
    keys::begin_session();
    let scene = match Scene::new("/proc/self/exe") {
        Ok(scene) => scene,
        Err(err) => {
            return say(&format!("untried: cannot prepare the outer side: {err}"))
                .unwrap_or(ExitCode::FAILURE);
        }
    };
    for fact in scene.facts().iter().chain([&String::new()]) {
        if let Some(code) = say(fact) {
            return code;
        }
    }
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    let changed = scene.changes();
    let verdict = if changed.is_empty() {
        Verdict::Held("all is as it was".to_owned())
    } else {
        Verdict::Broken(changed.join("; "))
    };
    say(&verdict.line()).unwrap_or(verdict.code())
}

/// Runs one attack in its own jail.
fn attack(row: &Row, told: &[String], jail: &[String]) -> Verdict {
    let scene = match Scene::new(&jail[0]) {
        Ok(scene) => scene,
        Err(err) => return Verdict::Untried(format!("cannot prepare the outer side: {err}")),
    };
    let mut command = Command::new(&jail[0]);
    command.args(&jail[1..]).arg(row.name).args(scene.facts()).args(told);
    let inside = start(command, &scene);
    let changed = scene.changes();
    let inside = match inside {
        // No process is left to print it.
        Ok(Verdict::Broken(text)) if row.name == "memory-hog" && text == KILLED => {
            Ok(Verdict::Held("the whole group was killed".to_owned()))
        }
        inside => inside,
    };
    match inside {
        Ok(Verdict::Held(_) | Verdict::Untried(_)) if !changed.is_empty() => {
            Verdict::Broken(changed.join("; "))
        }
        Ok(verdict) => verdict,
        Err(err) => Verdict::Untried(format!("cannot run it: {err}")),
    }
}

/// Starts the jail as the leader of the terminal's session, as a user's shell does.
fn start(mut command: Command, scene: &Scene) -> std::io::Result<Verdict> {
    let (mut out, end) = pipe()?;
    scene.environment(&mut command);
    let terminal = scene.terminal().and_then(|terminal| terminal.try_clone().ok());
    let child = sys::start(|| {
        if let Some(terminal) = &terminal {
            terminal::take(terminal);
        }
        let stdin = terminal.map_or_else(Stdio::null, Stdio::from);
        let err = command.stdin(stdin).stdout(end).exec();
        let _ = say(&format!("untried: cannot start {}: {err}", command.get_program().to_string_lossy()));
        2
    });
    let child = child.map_err(std::io::Error::from_raw_os_error)?;
    drop(command);
    let mut patience = PATIENCE;
    while !child.has_ended() && patience > 0 {
        thread::sleep(PAUSE);
        patience -= 1;
    }
    if patience == 0 {
        let _ = sys::kill(child.0, libc::SIGKILL);
    }
    let ended = child.wait().map_err(std::io::Error::from_raw_os_error)?;
    let mut text = String::new();
    out.read_to_string(&mut text)?;
    Ok(Verdict::parse(&text, status(ended)))
}

/// Returns the reading and the writing end of a pipe.
fn pipe() -> std::io::Result<(File, File)> {
    let mut numbers = [0_u8; 8];
    let made = call!(libc::SYS_pipe2, &mut numbers[..], libc::O_CLOEXEC);
    made.map_err(std::io::Error::from_raw_os_error)?;
    let (out, end) = numbers.split_at(4);
    let own = |bytes: &[u8]| {
        let number = usize::try_from(u32::from_ne_bytes(bytes.try_into().ok()?)).ok()?;
        sys::own(number).map(File::from)
    };
    own(out).zip(own(end)).ok_or_else(|| std::io::Error::other("descriptors 0 to 2 have to be open"))
}

/// Converts a status to that of the standard library.
fn status(ended: sys::Ended) -> ExitStatus {
    use std::os::unix::process::ExitStatusExt;
    ExitStatus::from_raw(match ended {
        sys::Ended::Code(code) => i32::from(code) << 8,
        sys::Ended::Signal(signal) => signal,
    })
}

/// Returns random bytes of the kernel as text.
fn random() -> std::io::Result<String> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}
