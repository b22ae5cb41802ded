//! Speed at which one worker can log, beside `cat > file` and s6-log: `cargo bench -p piku-run`. All of them
//! get the same lines from the same program, in turn, so that a busy machine slows all of them alike; the
//! ratios are what counts. Only piku-run puts a name on each line, and only its lines survive a kill of who
//! writes them.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot be made is none")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{Server, until};

const ROUNDS: usize = 5;
/// Numbered lines, less than the logs keep of them.
const LINES: u32 = 700_000;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let (server, seq) = (Server::new(), format!("seq 1000000 {}", 999_999 + LINES));
    let worker = format!(
        "while :; do rm -f $DATA_DIR/go; while ! test -e $DATA_DIR/go; do sleep 0.001; done; {seq}; echo end; done"
    );
    server.deploy("one", &[("worker", &worker)]);
    let log = server.app("log/worker.1.log");
    let ours = || {
        until("the worker waits", || !server.app("data/go").exists());
        for name in support::names(&server.app("log")) {
            fs::write(server.app("log").join(name), "").unwrap();
        }
        let start = Instant::now();
        fs::write(server.app("data/go"), "").unwrap();
        while !ends(&log) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let time = start.elapsed();
        let files = support::names(&server.app("log")).into_iter().map(|name| server.app("log").join(name));
        let lines = files.map(|path| fs::read_to_string(path).unwrap().lines().count());
        assert_eq!(lines.sum::<usize>(), LINES as usize + 1, "a line was lost");
        time
    };
    let shell = |script: &str| {
        let script = format!("{seq} | {script}");
        let start = Instant::now();
        let mut command = Command::new("sh");
        assert!(command.args(["-c", &script]).current_dir(dir.path()).status().unwrap().success());
        start.elapsed()
    };
    let has_s6 = Command::new("s6-log").stdin(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    let mut times: [(&str, Vec<Duration>); 3] =
        [("cat > file", vec![]), ("s6-log t", vec![]), ("piku-run", vec![])];
    for _ in 0..ROUNDS {
        times[0].1.push(shell("cat > file"));
        if has_s6 {
            times[1].1.push(shell("s6-log -b n5 s10000000 t ./s6"));
        }
        times[2].1.push(ours());
    }
    if !has_s6 {
        println!("skipped: s6-log is not installed");
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times.get(times.len() / 2).map(Duration::as_secs_f64)
    };
    let base = median(&mut times[0].1).unwrap();
    for (name, times) in &mut times {
        let Some(time) = median(times) else { continue };
        let rate = f64::from(LINES) / time / 1e6;
        println!(
            "{name:<12} {:7.1} ms  {rate:5.2} million lines/s  {:5.2} times cat",
            time * 1e3,
            time / base
        );
    }
}

/// Returns whether the worker's last line has arrived.
fn ends(log: &std::path::Path) -> bool {
    use std::io::{Read, Seek, SeekFrom};
    let Ok(mut file) = fs::File::open(log) else { return false };
    let mut end = String::new();
    file.seek(SeekFrom::End(-4)).and_then(|_| file.read_to_string(&mut end)).is_ok() && end == "end\n"
}
