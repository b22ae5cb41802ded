use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use jiff::Timestamp;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use piku_report::user_error::advice;

use super::*;
use crate::log::{LogWriter, RotationLimits};
use std::fs;

struct LoggedApp {
    _dir: tempfile::TempDir,
    root: PikuRoot,
    name: AppName,
    dir: AppDir,
}

impl LoggedApp {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let name: AppName = "blog".parse().unwrap();
        let root = PikuRoot::new(Some(dir.path().to_owned())).unwrap();
        let app = root.app(&name);
        fs::create_dir_all(app.path()).unwrap();
        Self { _dir: dir, root, name, dir: app }
    }

    fn source(&self) -> LogSource {
        LogSource { root: self.root.clone(), app: self.name.clone(), dir: self.dir.clone() }
    }

    fn writer(&self, instance: &str) -> LogWriter {
        LogWriter::open(self.dir.instance_log(instance), RotationLimits::default()).unwrap()
    }

    fn show(&self, query: &LogQuery) -> anyhow::Result<String> {
        let mut out = Vec::new();
        show_logs(&[self.source()], query, &mut out, None)?;
        Ok(String::from_utf8(out).unwrap())
    }

    /// Returns the printed lines without their times.
    fn texts(&self, query: &LogQuery) -> Vec<String> {
        self.show(query).unwrap().lines().map(text).collect()
    }

    fn error(&self, query: &LogQuery) -> String {
        let err = self.show(query).unwrap_err();
        let (hints, _) = advice(&err);
        [format!("{err:#}")].into_iter().chain(hints).collect::<Vec<_>>().join(" | ")
    }

    /// Follows in a thread; returns the read end of its output and the channel of its result.
    fn follow(&self, query: LogQuery) -> (File, Receiver<anyhow::Result<()>>) {
        let (read, write) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let sources = [self.source()];
        let (ended, result) = channel();
        std::thread::spawn(move || {
            let mut out = File::from(write.try_clone().unwrap());
            let query = LogQuery { follow: true, ..query };
            let shown = show_logs(&sources, &query, &mut out, Some(write.as_fd()));
            // A failed test has dropped the receiver.
            let _ = ended.send(shown);
        });
        (File::from(read), result)
    }
}

/// The lines that arrive through a pipe.
struct PipeLines(Receiver<String>);

impl PipeLines {
    fn new(pipe: File) -> Self {
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(pipe).lines();
            while let Some(Ok(line)) = lines.next() {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self(lines)
    }

    /// Waits up to ten seconds for the next line; returns its text.
    fn next(&self) -> String {
        text(&self.0.recv_timeout(Duration::from_secs(10)).expect("a line"))
    }

    fn expect(&self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.next(), *line);
        }
    }
}

fn text(line: &str) -> String {
    line.split_once(' ').map_or(line, |(_, text)| text).to_owned()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_745_000_000 + second).unwrap()
}

#[test]
fn instances_are_merged_by_time_and_the_last_lines_count_for_all() {
    let app = LoggedApp::new();
    let (mut web, mut ten, mut worker) = (app.writer("web.2"), app.writer("web.10"), app.writer("worker.1"));
    ten.feed(b"b\n", at(2));
    web.feed(b"a\n", at(1));
    worker.feed(b"c\n", at(3));
    web.write_remark("ended", at(4));
    // At the same time the lower number comes first.
    ten.feed(b"f\n", at(5));
    web.feed(b"d\ne\n", at(5));
    worker.feed(b"no end", at(6));
    let all = [
        "web.2: a",
        "web.10: b",
        "worker.1: c",
        "web.2 piku: ended",
        "web.2: d",
        "web.2: e",
        "web.10: f",
        "worker.1: no end",
    ];
    assert_eq!(app.texts(&LogQuery::default()), all);
    for count in 0..=8 {
        let query = LogQuery { lines: Some(count), ..LogQuery::default() };
        assert_eq!(app.texts(&query), all[8 - count..], "{count}");
    }
    let only = |only: &str| LogQuery { only: Some(only.to_owned()), ..LogQuery::default() };
    assert_eq!(app.texts(&only("web.10")), ["web.10: b", "web.10: f"]);
    assert_eq!(app.texts(&only("web")).len(), 6);
    assert_eq!(
        app.error(&only("web.1")),
        "'blog' has no log of 'web.1' | there are: web.2, web.10, worker.1"
    );
    let since = |second, lines| LogQuery { since: Some(at(second)), lines, ..LogQuery::default() };
    assert_eq!(app.texts(&since(0, None)), all);
    assert_eq!(app.texts(&since(4, None)), all[3..]);
    assert_eq!(app.texts(&since(4, Some(2))), all[6..]);
    assert_eq!(app.texts(&since(4, Some(7))), all[3..]);
    assert_eq!(app.texts(&since(7, None)), [""; 0]);
    let first = app.show(&LogQuery::default()).unwrap();
    assert!(first.starts_with("2025-04-18T18:13:21.000Z web.2: a\n"), "{first}");
}

#[test]
fn a_wrong_clock_does_not_reorder_lines() {
    let app = LoggedApp::new();
    let (mut web, mut worker) = (app.writer("web.1"), app.writer("worker.1"));
    let ahead = |second: i64| Timestamp::from_second(95_000_000_000 + second).unwrap();
    let unset = |second: i64| Timestamp::from_second(second).unwrap();
    web.feed(b"a\n", at(1));
    worker.feed(b"b\n", at(2));
    // The machine boots in 1970, is set, set years ahead, and set back.
    web.feed(b"c\n", unset(5));
    worker.feed(b"d\n", unset(6));
    web.feed(b"e\n", at(10));
    worker.feed(b"f\n", at(11));
    worker.feed(b"g\n", ahead(1));
    web.feed(b"h\n", ahead(2));
    worker.feed(b"i\n", at(20));
    web.feed(b"j\n", at(21));
    let shown = app.texts(&LogQuery::default());
    let order = |text: &str| shown.iter().position(|line| line.ends_with(text)).unwrap();
    for (before, after) in
        [("a", "b"), ("b", "e"), ("c", "e"), ("d", "f"), ("e", "f"), ("g", "i"), ("h", "i"), ("i", "j")]
    {
        assert!(order(before) < order(after), "{before} {after}: {shown:?}");
    }
    // Lines dated years ahead are not newer than the lines after them.
    let since = LogQuery { since: Some(at(15)), ..LogQuery::default() };
    assert_eq!(app.texts(&since), ["worker.1: i", "web.1: j"]);
    assert_eq!(app.texts(&LogQuery { lines: Some(2), ..LogQuery::default() }), ["worker.1: i", "web.1: j"]);
}

#[test]
fn only_text_and_colours_are_shown_unless_all_bytes_are_asked_for() {
    let app = LoggedApp::new();
    app.writer("web.1").feed(b"\x1b]0;title\x07\x1b[1mbold \xff\n", at(1));
    let mut out = Vec::new();
    show_logs(&[app.source()], &LogQuery { raw: true, ..LogQuery::default() }, &mut out, None).unwrap();
    assert!(out.ends_with(b" web.1: \x1b]0;title\x07\x1b[1mbold \xff\n"));
    let shown = app.show(&LogQuery::default()).unwrap();
    assert!(shown.ends_with(" web.1: \x1b[1mbold \u{fffd}\x1b[0m\n"), "{shown:?}");
}

#[test]
fn missing_logs_are_explained_in_one_line() {
    let app = LoggedApp::new();
    let hint = "they begin with the first deploy; 'logs --deploy' shows the deploy's own log";
    assert_eq!(app.error(&LogQuery::default()), format!("'blog' has no logs yet | {hint}"));
    assert_eq!(
        app.error(&LogQuery { follow: true, ..LogQuery::default() }),
        format!("'blog' has no logs yet | {hint}")
    );
    let deploy = |deploy| LogQuery { deploy: Some(deploy), ..LogQuery::default() };
    assert_eq!(app.error(&deploy(DeployLogChoice::Last)), "'blog' has no log of a deploy yet");
}

#[test]
fn the_log_of_a_deploy() {
    let app = LoggedApp::new();
    // The log of an instance of the process type `deploy-12` is not the log of a deploy.
    app.writer("deploy-12.1").feed(b"x\n", at(1));
    for (number, text) in [(2, "two\n"), (9, "nine\n !     it broke"), (10, "-----> ten\n       ok\n")] {
        fs::write(app.dir.deploy_log(number), text).unwrap();
    }
    let show =
        |deploy, lines| app.show(&LogQuery { deploy: Some(deploy), lines, ..LogQuery::default() }).unwrap();
    assert_eq!(show(DeployLogChoice::Last, None), "-----> ten\n       ok\n");
    assert_eq!(show(DeployLogChoice::Number(9), None), "nine\n !     it broke\n");
    assert_eq!(show(DeployLogChoice::Last, Some(1)), "       ok\n");
    let query = LogQuery { deploy: Some(DeployLogChoice::Number(3)), ..LogQuery::default() };
    assert_eq!(app.error(&query), "'blog' has no log of deploy 3 | there are 3, the last one is 10");
    assert_eq!(app.texts(&LogQuery::default()), ["deploy-12.1: x"]);
}

#[test]
fn following_goes_on_across_rotations_under_load() {
    let app = LoggedApp::new();
    let limits = RotationLimits { bytes: 20_000, keep: 90 };
    let mut writer = LogWriter::open(app.dir.instance_log("web.1"), limits).unwrap();
    writer.feed(b"early\nbefore\n", at(0));
    let follower = PipeLines::new(app.follow(LogQuery { lines: Some(1), ..LogQuery::default() }).0);
    follower.expect(&["web.1: before"]);
    for number in 0..20_000 {
        // Pieces do not end at line ends, as from a pipe.
        writer.feed(format!("line {number}\nof").as_bytes(), at(number / 100));
    }
    writer.feed(b" all\n", at(999));
    assert!(app.dir.log().join("web.1.log.20").exists());
    follower.expect(&["web.1: line 0"]);
    for number in 1..20_000 {
        assert_eq!(follower.next(), format!("web.1: ofline {number}"));
    }
    follower.expect(&["web.1: of all"]);
}

#[test]
fn an_instance_that_appears_is_followed_too() {
    let app = LoggedApp::new();
    fs::create_dir(app.dir.log()).unwrap();
    let follower = PipeLines::new(app.follow(LogQuery::default()).0);
    let mut web = app.writer("web.1");
    web.feed(b"one\n", at(1));
    follower.expect(&["web.1: one"]);
    let mut worker = app.writer("worker.1");
    worker.feed(b"two\nthr", at(2));
    follower.expect(&["worker.1: two"]);
    worker.feed(b"ee\n", at(3));
    web.feed(b"four\n", at(4));
    let mut last = [follower.next(), follower.next()];
    last.sort();
    assert_eq!(last, ["web.1: four", "worker.1: three"]);
}

#[test]
fn following_ends_with_its_listener_and_with_its_app() {
    let app = LoggedApp::new();
    app.writer("web.1").feed(b"one\ntwo\n", at(1));
    let (mut pipe, result) = app.follow(LogQuery::default());
    let mut byte = [0];
    pipe.read_exact(&mut byte).unwrap();
    // The reader stops, as `head` does, and no line follows.
    drop(pipe);
    result.recv_timeout(Duration::from_secs(10)).expect("it ends").unwrap();

    let (pipe, result) = app.follow(LogQuery::default());
    PipeLines::new(pipe).expect(&["web.1: one", "web.1: two"]);
    fs::remove_dir_all(app.dir.path()).unwrap();
    result.recv_timeout(Duration::from_secs(10)).expect("it ends").unwrap();
}

#[test]
fn a_closed_pipe_is_no_error_and_a_full_disk_is_one() {
    let app = LoggedApp::new();
    app.writer("web.1").feed(b"one\n", at(1));
    let (read, write) = pipe2(OFlag::O_CLOEXEC).unwrap();
    drop(read);
    show_logs(&[app.source()], &LogQuery::default(), &mut File::from(write), None).unwrap();
    let mut full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let err = show_logs(&[app.source()], &LogQuery::default(), &mut full, None).unwrap_err();
    assert_eq!(format!("{err:#}"), "cannot write the log to stdout: No space left on device (os error 28)");
}

#[test]
fn lines_of_several_apps_are_merged_and_named() {
    let blog = LoggedApp::new();
    let root = tempfile::tempdir().unwrap();
    let source = |name: &str| {
        let app: AppName = name.parse().unwrap();
        let root = PikuRoot::new(Some(root.path().to_owned())).unwrap();
        LogSource { dir: root.app(&app), root, app }
    };
    let (shop, empty) = (source("shop"), source("empty"));
    let time = |seconds: i64| Timestamp::from_second(1_790_000_000 + seconds).unwrap();
    let mut shop_log = LogWriter::open(shop.dir.instance_log("worker.2"), RotationLimits::default()).unwrap();
    blog.writer("web.1").feed(b"first\nthird\n", time(1));
    shop_log.feed(b"second\n", time(1));
    let sources = [blog.source(), shop, empty.clone()];
    let printed = |query: &LogQuery| {
        let mut out = Vec::new();
        show_logs(&sources, query, &mut out, None).unwrap();
        let lines = String::from_utf8(out).unwrap();
        let mut lines: Vec<String> = lines.lines().map(|line| line[25..].to_owned()).collect();
        lines.sort();
        lines
    };
    assert_eq!(
        printed(&LogQuery::default()),
        ["blog web.1: first", "blog web.1: third", "shop worker.2: second"]
    );
    let coloured = LogQuery { colours: true, only: Some("worker".to_owned()), ..LogQuery::default() };
    assert_eq!(printed(&coloured), ["\x1b[33mshop worker.2:\x1b[0m second"]);
    let err = show_logs(&[empty.clone(), empty], &LogQuery::default(), &mut Vec::new(), None).unwrap_err();
    assert_eq!(err.to_string(), "'empty' has no logs yet");
}

/// Output of an app that writes a line for each one that is printed.
struct FeedingOutput {
    log: LogWriter,
    printed: String,
    feeds_left: usize,
}

impl Write for FeedingOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.printed.push_str(std::str::from_utf8(bytes).map_err(io::Error::other)?);
        for _ in bytes.iter().filter(|byte| **byte == b'\n') {
            if let Some(left) = self.feeds_left.checked_sub(1) {
                self.feeds_left = left;
                self.log.feed(b"another\n", at(50));
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_that_are_written_while_others_are_printed_belong_to_those_who_follow() {
    let app = LoggedApp::new();
    let mut log = app.writer("web.1");
    // More than one block, so that the app writes before the last one is read.
    let lines = 3 * BLOCK / 1000;
    for _ in 0..lines {
        log.feed(format!("{}\n", "x".repeat(1000)).as_bytes(), at(1));
    }
    for query in [
        LogQuery { lines: Some(lines), ..LogQuery::default() },
        LogQuery { since: Some(at(0)), ..LogQuery::default() },
    ] {
        let known = app.texts(&query).len();
        let mut out =
            FeedingOutput { log: app.writer("web.1"), printed: String::new(), feeds_left: 10 * lines };
        show_logs(&[app.source()], &query, &mut out, None).unwrap();
        assert_eq!(out.printed.lines().count(), known, "{query:?}");
    }
}
