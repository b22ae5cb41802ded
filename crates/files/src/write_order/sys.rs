//! `sync_file_range(2)`, for which no crate has a safe function. It writes the content of a file without
//! flushing the disk's cache or the journal.

#![expect(unsafe_code, reason = "no crate has a safe function for this")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use libc::{SYNC_FILE_RANGE_WAIT_AFTER, SYNC_FILE_RANGE_WAIT_BEFORE, SYNC_FILE_RANGE_WRITE};

/// Starts writing the whole file to the disk.
pub(crate) fn begin_write(file: &File) -> io::Result<()> {
    sync_range(file, SYNC_FILE_RANGE_WRITE)
}

/// Waits until the current content of the file is written.
pub(crate) fn wait_written(file: &File) -> io::Result<()> {
    sync_range(file, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER)
}

fn sync_range(file: &File, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: the descriptor is open while the file is borrowed, and the call uses no memory of this
    // process. A range of length 0 is the whole file.
    let done = unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, flags) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
