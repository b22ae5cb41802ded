//! Shared memory, a semaphore and queues of the host, made by the same user.

use std::fs;
use std::path::PathBuf;

use crate::sys::{self, call};

pub(super) struct Objects {
    key: i32,
    memory: Option<i32>,
    semaphore: Option<i32>,
    queue: Option<i32>,
    name: String,
    posix_queue: bool,
}

fn id(answer: Result<usize, sys::Errno>) -> Option<i32> {
    answer.ok()?.try_into().ok()
}

impl Objects {
    /// Makes one object of each kind that the machine has.
    pub(super) fn new(name: &str, text: &str) -> Self {
        let digits: String = name.chars().rev().take(7).collect();
        let key = i32::from_str_radix(&digits, 16).unwrap_or(0x0071_6b75) | 0x1000_0000;
        let flags = libc::IPC_CREAT | libc::IPC_EXCL | 0o600;
        let objects = Self {
            key,
            memory: id(call!(libc::SYS_shmget, key, 4096, flags)),
            semaphore: id(call!(libc::SYS_semget, key, 1, flags)),
            queue: id(call!(libc::SYS_msgget, key, flags)),
            name: name.to_owned(),
            posix_queue: make_queue(name),
        };
        // Without /dev/shm the row reports a missing fact.
        let _ = fs::write(objects.shared_file(), text);
        objects
    }

    fn shared_file(&self) -> PathBuf {
        PathBuf::from("/dev/shm").join(&self.name)
    }

    pub(super) fn facts(&self) -> Vec<String> {
        let object = |kind: &str, id: Option<i32>| id.map(|id| format!("{kind}={}:{id}", self.key));
        let mut facts: Vec<String> =
            [object("shm", self.memory), object("sem", self.semaphore), object("msg", self.queue)]
                .into_iter()
                .flatten()
                .collect();
        if self.shared_file().exists() {
            facts.push(format!("memory={}", self.name));
        }
        if self.posix_queue {
            facts.push(format!("queue={}", self.name));
        }
        facts
    }

    /// Returns whether all objects still exist.
    pub(super) fn are_there(&self) -> bool {
        let found = |id: Option<i32>, answer: Result<usize, sys::Errno>| id.is_none() || answer.is_ok();
        found(self.memory, call!(libc::SYS_shmget, self.key, 0, 0))
            && found(self.semaphore, call!(libc::SYS_semget, self.key, 0, 0))
            && found(self.queue, call!(libc::SYS_msgget, self.key, 0))
            && self.shared_file().exists()
            && (!self.posix_queue || open_queue(&self.name).is_ok())
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        if let Some(memory) = self.memory {
            let _ = call!(libc::SYS_shmctl, memory, libc::IPC_RMID, 0);
        }
        if let Some(semaphore) = self.semaphore {
            let _ = call!(libc::SYS_semctl, semaphore, 0, libc::IPC_RMID, 0);
        }
        if let Some(queue) = self.queue {
            let _ = call!(libc::SYS_msgctl, queue, libc::IPC_RMID, 0);
        }
        if self.posix_queue {
            let text = format!("{}\0", self.name);
            let _ = call!(libc::SYS_mq_unlink, text.as_bytes());
        }
        let _ = fs::remove_file(self.shared_file());
    }
}

fn make_queue(name: &str) -> bool {
    let text = format!("{name}\0");
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR | libc::O_CLOEXEC;
    call!(libc::SYS_mq_open, text.as_bytes(), flags, 0o600, 0).map(sys::own).is_ok()
}

fn open_queue(name: &str) -> Result<(), sys::Errno> {
    let text = format!("{name}\0");
    call!(libc::SYS_mq_open, text.as_bytes(), libc::O_RDONLY | libc::O_CLOEXEC, 0, 0).map(sys::own).map(drop)
}
