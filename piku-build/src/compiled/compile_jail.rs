//! A jail for each compilation. The compiler gets the sources on its stdin and writes their compiled forms to its stdout. It
//! sees the machine's programs and nothing else: no app, no cache, no network, no result of another compilation.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use piku_chroot::jail::JailSpec;
use piku_chroot::limits::JailLimits;
use piku_chroot::profile::BuiltinProfile;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{PidfdFlags, pidfd_open};

use super::compilation::SharedCompilation;
use super::compiled_store::LARGEST;
use super::source_groups::PackageSource;
use crate::step::interrupt;

/// The most memory of a compiler, in bytes. Where no cgroup enforces it, it holds for each of its processes.
const MEMORY: u64 = 512 << 20;
/// The most processes of a compiler, which needs one.
const PROCESSES: u32 = 4;
/// Time after which a compiler is ended. A megabyte of sources takes a tenth of a second, and ten on the slowest machines.
const MAX_TIME: Duration = Duration::from_secs(120);
/// Interval between two looks at whether the build has been ended.
const CHECK_INTERVAL: u16 = 200;

/// Compiles the sources; returns what the compiler has written, whatever that is.
///
/// # Errors
/// Fails if the compiler cannot be run, takes too long, writes too much or fails, and if the build is interrupted.
pub(super) fn compile(
    plan: &SharedCompilation,
    memory: Option<&str>,
    sources: &[PackageSource],
) -> anyhow::Result<Vec<u8>> {
    let command = build_jail(plan, memory).command::<_, &str, &str>([], &plan.run);
    run(command, write_sources(plan, sources)?, MAX_TIME)
}

fn build_jail(plan: &SharedCompilation, memory: Option<&str>) -> JailSpec {
    let limits = memory.and_then(|memory| JailLimits::from_str(&format!("memory={memory}")).ok());
    let allowed = limits.and_then(|limits| limits.memory).map_or(MEMORY, |memory| memory.bytes().min(MEMORY));
    // Not in a scope of systemd, which takes longer to make than most groups to compile.
    let jail = JailSpec::profile(BuiltinProfile::Build)
        .no_network()
        .chdir(Path::new("/"))
        .tmp_size("1m")
        .limit(&format!("memory={allowed},pids={PROCESSES}"))
        .die_with_caller();
    plan.host.iter().fold(jail, |jail, folder| jail.ro(folder, folder))
}

/// Writes the sources into a file in memory: for each, the lengths of its path and its content, and both.
fn write_sources(plan: &SharedCompilation, sources: &[PackageSource]) -> anyhow::Result<File> {
    let made = memfd_create(c"sources", MemfdFlags::CLOEXEC).context("cannot make a file in memory")?;
    let mut file = File::from(made);
    let mut text = Vec::new();
    for PackageSource { path, content, .. } in sources {
        let path = plan.packages().join(path);
        let path = path.as_os_str().as_bytes();
        for len in [path.len(), content.len()] {
            text.extend(u32::try_from(len).context("too long")?.to_le_bytes());
        }
        text.extend(path);
        text.extend(content);
    }
    file.write_all(&text).and_then(|()| file.rewind()).context("cannot write the sources")?;
    Ok(file)
}

/// Runs the compiler with this input to its end. None of its processes is left.
fn run(mut command: Command, input: File, time: Duration) -> anyhow::Result<Vec<u8>> {
    command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().context("cannot run piku-chroot")?;
    let output = read_output(&mut child, Instant::now() + time);
    let group = Pid::from_raw(i32::try_from(child.id()).context("bad pid")?);
    // It is not reaped yet, so that the group is still its own.
    let _ = killpg(group, Signal::SIGKILL);
    let status = child.wait().context("cannot wait for piku-chroot")?;
    let output = output?;
    ensure!(status.success(), "the compiler failed");
    Ok(output)
}

/// Reads the output, and waits for the end of the process.
fn read_output(child: &mut Child, end: Instant) -> anyhow::Result<Vec<u8>> {
    let mut stdout = child.stdout.take().context("no stdout")?;
    let (mut output, mut part) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        wait_for(stdout.as_fd(), end)?;
        match stdout.read(&mut part).context("cannot read the output of the compiler")? {
            0 => break,
            len => output.extend_from_slice(&part[..len]),
        }
        ensure!(output.len() as u64 <= LARGEST, "the compiler writes too much");
    }
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).context("bad pid")?;
    wait_for(pidfd_open(pid, PidfdFlags::empty()).context("cannot watch piku-chroot")?.as_fd(), end)?;
    Ok(output)
}

/// Waits until the descriptor can be read.
fn wait_for(fd: BorrowedFd<'_>, end: Instant) -> anyhow::Result<()> {
    loop {
        interrupt::check()?;
        if Instant::now() >= end {
            bail!("the compiler takes too long");
        }
        let mut watched = [PollFd::new(fd, PollFlags::POLLIN)];
        match poll(&mut watched, PollTimeout::from(CHECK_INTERVAL)) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(err) => return Err(err).context("cannot wait for the compiler"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::net::TcpListener;
    use std::path::PathBuf;
    use std::time::SystemTime;

    use piku_chroot::jail;

    /// Tries to see, reach and change more than a compiler needs, and prints what it has got.
    const LOOK_AROUND: &str = "\
import os, socket, sys
secret, port = sys.argv[1:]
def attempt(name, act):
    try:
        print(name, act())
    except OSError:
        pass
attempt('secret', lambda: open(secret).read())
attempt('network', lambda: socket.create_connection(('127.0.0.1', int(port))))
attempt('devices', lambda: [name for _, name in socket.if_nameindex() if name != 'lo'] or open('/nowhere'))
for folder in '/app', '/cache', '/build', '/layers', '/tools', '/data', '/home':
    attempt(folder, lambda: os.listdir(folder) or open('/nowhere'))
for folder in '/', '/usr', '/etc', '/dev':
    attempt('write ' + folder, lambda: open(os.path.join(folder, 'x'), 'w'))
print(sorted(set(os.environ) - {'PATH', 'HOME', 'LC_CTYPE', 'PWD'}), len(os.listdir('/proc/self/fd')))
print(os.listdir('/tmp'), sys.stdin.buffer.read())
";

    fn source(path: &str, content: &[u8]) -> PackageSource {
        PackageSource {
            path: PathBuf::from(path),
            content: content.to_owned(),
            modified: SystemTime::UNIX_EPOCH,
            mode: 0o644,
        }
    }

    fn plan(run: &[&str]) -> SharedCompilation {
        SharedCompilation {
            folder: PathBuf::from("packages"),
            mount: PathBuf::from("/layers/venv"),
            run: run.iter().map(ToString::to_string).collect(),
            host: Vec::new(),
            compiler: String::new(),
            ending: ".pyc".to_owned(),
            is_public: true,
        }
    }

    #[test]
    fn a_compiler_sees_the_sources_and_the_programs_of_the_machine() {
        if jail::available().is_err() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        fs::write(&secret, "of another app").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let look = ["/usr/bin/python3", "-I", "-c", LOOK_AROUND, secret.to_str().unwrap(), &port];
        let made = compile(&plan(&look), Some("256m"), &[source("a.py", b"x")]).unwrap();
        // The fourth descriptor is that of the listing.
        let input = r"\x1a\x00\x00\x00\x01\x00\x00\x00/layers/venv/packages/a.pyx";
        assert_eq!(String::from_utf8(made).unwrap(), format!("[] 4\n[] b'{input}'\n"));
    }

    #[test]
    fn a_compiler_that_does_not_end_or_fails_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let run = |script: &str, time| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]).arg(&pid);
            run(command, File::open("/dev/null").unwrap(), time).map_err(|err| err.to_string())
        };
        let short = Duration::from_millis(300);
        assert_eq!(run("echo form", MAX_TIME).unwrap(), b"form\n");
        for (script, time, why) in [
            ("sleep 1000 & echo $! >\"$0\"; wait", short, "the compiler takes too long"),
            ("sleep 1000 & echo $! >\"$0\"; exec >&-; wait", short, "the compiler takes too long"),
            ("sleep 1000 & echo $! >\"$0\"; yes", MAX_TIME, "the compiler writes too much"),
            ("exec sleep 0.01 >&-; exit 1", MAX_TIME, ""),
            ("echo form; exit 1", MAX_TIME, "the compiler failed"),
            ("echo form; kill -9 $$", MAX_TIME, "the compiler failed"),
        ] {
            let told = run(script, time);
            if why.is_empty() {
                assert_eq!(told.unwrap(), b"");
                continue;
            }
            assert_eq!(told.unwrap_err(), why, "{script}");
            let Ok(text) = fs::read_to_string(&pid) else { continue };
            let begin = Instant::now();
            while piku_procfs::is_running(text.trim().parse().unwrap()) {
                assert!(begin.elapsed() < Duration::from_secs(10), "{script}");
                std::thread::yield_now();
            }
        }
    }
}
