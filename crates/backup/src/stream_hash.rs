//! SHA-256 of a stream. A long one is hashed by a thread of its own, since hashing takes as long as reading and decompressing.

use std::mem;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use sha2::{Digest, Sha256};

/// Size of what the thread gets at a time, in bytes.
const CHUNK: usize = 1 << 18;
/// Number of chunks that wait for the thread.
const QUEUE: usize = 4;

/// A hash that is being computed.
#[derive(Debug, Default)]
pub(crate) struct StreamHash {
    /// Bytes that are not hashed yet, fewer than a chunk.
    chunk: Vec<u8>,
    /// Hash of the chunks before, as long as there is no thread.
    before: Sha256,
    thread: Option<HashThread>,
}

impl StreamHash {
    /// Adds bytes.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = bytes.len().min(CHUNK - self.chunk.len());
            let (more, rest) = bytes.split_at(count);
            self.chunk.extend_from_slice(more);
            bytes = rest;
            if self.chunk.len() == CHUNK {
                self.pass_on();
            }
        }
    }

    /// Returns the hash of all bytes.
    pub(crate) fn finish(self) -> Sha256 {
        let before = self.thread.map_or(self.before, HashThread::finish);
        before.chain_update(&self.chunk)
    }

    /// Hashes a full chunk, or has the thread do it.
    fn pass_on(&mut self) {
        if self.thread.is_none() {
            // Without one, as when there are too many, the caller hashes.
            self.thread = HashThread::start(self.before.clone()).ok();
        }
        if let Some(thread) = &self.thread {
            thread.pass_on(&mut self.chunk);
        } else {
            self.before.update(&self.chunk);
            self.chunk.clear();
        }
    }
}

/// The thread, which ends when its sender is dropped.
#[derive(Debug)]
struct HashThread {
    chunks: SyncSender<Vec<u8>>,
    /// Chunks that are hashed, to be filled again.
    empty: Receiver<Vec<u8>>,
    result: JoinHandle<Sha256>,
}

impl HashThread {
    fn start(mut hash: Sha256) -> std::io::Result<Self> {
        let (chunks, full) = sync_channel::<Vec<u8>>(QUEUE);
        // The sender has at most one chunk beside those that wait, the thread one more.
        let (done, empty) = sync_channel(QUEUE + 2);
        let work = move || {
            for mut chunk in full {
                hash.update(&chunk);
                chunk.clear();
                // Nobody wants it when the stream has ended.
                let _ = done.try_send(chunk);
            }
            hash
        };
        let result = Builder::new().name("sha256".to_owned()).spawn(work)?;
        Ok(Self { chunks, empty, result })
    }

    /// Takes a chunk, and leaves an empty one in its place.
    fn pass_on(&self, chunk: &mut Vec<u8>) {
        let next = self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(CHUNK));
        // It fails only if the thread has panicked, which `finish` passes on.
        let _ = self.chunks.send(mem::replace(chunk, next));
    }

    fn finish(self) -> Sha256 {
        drop(self.chunks);
        self.result.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_all_bytes() {
        let all: Vec<u8> = (0..9 * CHUNK + 5).map(|at| u8::try_from(at / 7 * 31 % 251).unwrap()).collect();
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, all.len()] {
            for step in [977, CHUNK / 2, CHUNK, 3 * CHUNK + 1] {
                let mut hash = StreamHash::default();
                all[..length].chunks(step).for_each(|bytes| hash.update(bytes));
                assert_eq!(hash.finish().finalize(), Sha256::digest(&all[..length]), "{length} {step}");
            }
        }
    }
}
