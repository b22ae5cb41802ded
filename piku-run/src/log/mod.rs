//! Logs of instances: output is read from fifos and written to one file per instance, each line with its time
//! and the instance's name. Files are rotated by size and read back merged by time.
//!
//! A log line is `TIME INSTANCE: TEXT`, such as `2026-11-22T10:00:00.123Z web.1: hello`. The supervisor's own
//! remarks have the form `TIME INSTANCE piku: TEXT`, which no instance can forge.

mod checkpoint;
mod cursor;
mod dropped_lines;
mod fifo;
mod line;
mod line_buffer;
mod line_format;
mod log_names;
mod reader;
mod render;
mod rotate;
mod spool;
mod tail;
mod writer;

pub(crate) use fifo::{open_fifo, open_fifo_for_worker};
pub(crate) use log_names::has_log_of;
pub(crate) use reader::{DeployLogChoice, LogQuery, LogSource, show_logs};
pub(crate) use rotate::{RotationLimits, rotate};
pub(crate) use spool::{BlockBuffer, LogIntake, recover_spool};
pub(crate) use tail::{LogPositions, LogTail, TailLine};
pub(crate) use writer::LogWriter;
