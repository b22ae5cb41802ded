//! The one system call that no crate offers as a safe function: `sync_file_range(2)`, which writes a file's content out and leaves
//! the disk's cache and the journal alone.

#![expect(unsafe_code, reason = "no crate has a safe function for this")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use libc::{SYNC_FILE_RANGE_WAIT_AFTER, SYNC_FILE_RANGE_WAIT_BEFORE, SYNC_FILE_RANGE_WRITE};

/// Has the kernel begin to write the whole file to the disk.
pub(crate) fn begin_write(file: &File) -> io::Result<()> {
    call(file, SYNC_FILE_RANGE_WRITE)
}

/// Waits until all that the file holds now is written to the disk.
pub(crate) fn wait_written(file: &File) -> io::Result<()> {
    call(file, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER)
}

fn call(file: &File, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as the file is borrowed, and no memory is handed over. A range of length 0 is the
    // whole file.
    let done = unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, flags) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
