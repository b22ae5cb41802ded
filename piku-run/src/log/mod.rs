//! What workers say: taken from their fifos, one file an instance, each line with its time and the instance's name,
//! rotated by size, read back merged by time.
//!
//! A line of a log is `TIME INSTANCE: TEXT`, such as `2026-11-22T10:00:00.123Z web.1: hello`; what the supervisor itself
//! has to say about the instance stands between as `TIME INSTANCE piku: TEXT`, a form that no worker can forge.

mod checkpoint;
mod cursor;
mod dropped_lines;
mod fifo;
mod line;
mod line_buffer;
mod reader;
mod render;
mod rotate;
mod spool;
mod tail;
mod writer;

pub use fifo::{open_fifo, open_fifo_for_worker};
pub use reader::{DeployLogChoice, LogQuery, show};
pub use rotate::RotationLimits;
pub use spool::{LogIntake, recover};
pub(crate) use tail::{LogPositions, LogTail, TailLine};
pub use writer::LogWriter;
