use super::super::render::LogEnd;
use super::*;
use crate::log::{RotationLimits, open_fifo};
use std::fs;
use std::io::Write;
use std::path::PathBuf;

/// Directory with a log of `web.1`, its spool and its fifo.
struct Scene(tempfile::TempDir);

impl Scene {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn log(&self, limits: RotationLimits) -> LogWriter {
        LogWriter::open(self.path("web.1.log"), limits).unwrap()
    }

    fn intake(&self, log: &mut LogWriter) -> LogIntake {
        LogIntake::open(open_fifo(&self.path("fifo")).unwrap(), &self.path("spool"), log)
    }

    /// Returns the texts of all lines, older files first.
    fn texts(&self) -> Vec<String> {
        let files = ["web.1.log.2", "web.1.log.1", "web.1.log"];
        let all: String =
            files.iter().map(|name| fs::read_to_string(self.path(name)).unwrap_or_default()).collect();
        all.lines().map(|line| line.split_once(": ").unwrap().1.to_owned()).collect()
    }
}

#[test]
fn an_encoded_checkpoint_is_decoded() {
    for at in [LogEnd::Start, LogEnd::Foreign, LogEnd::Text(0), LogEnd::Text(65_536)] {
        let now = Timestamp::from_millisecond(1_795_000_000_123).unwrap();
        let checkpoint = SpoolCheckpoint { file: 7, end: 1 << 40, lead: 3, at, from: 1, to: 65_536, now };
        assert_eq!(SpoolCheckpoint::decode(&checkpoint.encode()), Some(checkpoint));
    }
    assert_eq!(SpoolCheckpoint::decode(&[0; HEAD]), None);
    assert_eq!(SpoolCheckpoint::decode(&[1]), None);
}

#[test]
fn after_a_kill_at_any_point_each_line_is_there_once() {
    let limits = RotationLimits { bytes: 200, keep: 5 };
    let expected: Vec<String> = (1..=9).map(|number| format!("line {number}")).collect();
    // Killed after so many bytes of the last write, before the checkpoint was written, or after the last
    // byte.
    for first in ["line 1\n", "line 1\nli", "line 1\nline 2\nline 3\nline 4\nline 5\nline 6\nli"] {
        let rest = format!("{}\n", expected.join("\n")).split_off(first.len());
        for killed in 0..600 {
            let scene = Scene::new();
            let mut log = scene.log(limits);
            let mut intake = scene.intake(&mut log);
            let mut fifo = intake.fifo.try_clone().unwrap();
            fifo.write_all(first.as_bytes()).unwrap();
            intake.move_to_log(&mut log, &mut BlockBuffer::default()).unwrap();
            fifo.write_all(rest.as_bytes()).unwrap();
            assert_eq!(intake.read_block(&mut BlockBuffer::default()).unwrap(), rest.as_bytes());
            // Does the same as `move_to_log`, up to the kill.
            let (mut writes, spool) = (0, intake.spool.as_ref());
            let mut last = None;
            if killed > 0 {
                log.write_output(rest.as_bytes(), 0, Timestamp::now(), &mut |checkpoint| {
                    writes += 1;
                    last = Some(*checkpoint);
                    write_checkpoint(spool, checkpoint);
                });
            }
            let whole = fs::metadata(scene.path("web.1.log")).unwrap().len();
            if let Some(last) = last {
                let torn = last.end + killed;
                if torn < whole {
                    fs::File::options()
                        .write(true)
                        .open(scene.path("web.1.log"))
                        .unwrap()
                        .set_len(torn)
                        .unwrap();
                }
            }
            drop((log, intake));
            let mut log = scene.log(limits);
            let mut intake = scene.intake(&mut log);
            assert_eq!(scene.texts(), expected, "killed at {killed} of {first:?}, {writes} writes");
            assert_eq!(fs::metadata(scene.path("spool")).unwrap().len(), 0);
            assert_eq!(intake.move_to_log(&mut log, &mut BlockBuffer::default()), None);
            if last.is_some_and(|last| last.end + killed > whole) {
                break;
            }
        }
    }
}

#[test]
fn output_is_logged_without_a_spool_too() {
    let scene = Scene::new();
    let mut log = scene.log(RotationLimits::default());
    fs::create_dir(scene.path("spool")).unwrap();
    let mut intake = scene.intake(&mut log);
    intake.fifo.try_clone().unwrap().write_all(b"one\n").unwrap();
    assert_eq!(intake.move_to_log(&mut log, &mut BlockBuffer::default()), Some(&b"one\n"[..]));
    assert_eq!(intake.move_to_log(&mut log, &mut BlockBuffer::default()), None);
    assert_eq!(scene.texts(), ["one"]);
}
