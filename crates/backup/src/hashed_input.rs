//! An input that hashes and counts what was read from it.

use std::io::{self, BufRead, Read};
use std::mem;

use sha2::Sha256;

use crate::stream_hash::StreamHash;

/// Size of the buffer in bytes.
const BUFFER: usize = 1 << 16;

/// A buffered input. Bytes that are still in its buffer are not hashed.
#[derive(Debug)]
pub(crate) struct HashedInput<R> {
    input: R,
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
    hash: StreamHash,
    offset: u64,
}

impl<R: Read> HashedInput<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, buffer: vec![0; BUFFER], begin: 0, end: 0, hash: StreamHash::default(), offset: 0 }
    }

    /// Returns the hash of the bytes that were read, and begins another one.
    pub(crate) fn take_hash(&mut self) -> Sha256 {
        mem::take(&mut self.hash).finish()
    }

    /// Returns the number of bytes that were read.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }
}

impl<R: Read> BufRead for HashedInput<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
            self.end = loop {
                match self.input.read(&mut self.buffer) {
                    Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                    read => break read?,
                }
            };
        }
        Ok(&self.buffer[self.begin..self.end])
    }

    fn consume(&mut self, amount: usize) {
        let end = (self.begin + amount).min(self.end);
        self.hash.update(&self.buffer[self.begin..end]);
        self.offset += (end - self.begin) as u64;
        self.begin = end;
    }
}

impl<R: Read> Read for HashedInput<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(into.len());
        into[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}
