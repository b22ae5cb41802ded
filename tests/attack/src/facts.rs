//! Facts about the outside for the attacker: `KEY=VALUE` words. A key may be given several times.
//!
//! | key | value |
//! |---|---|
//! | `secret` | a file of the host that nobody inside may see |
//! | `write` | a file of the host that nobody inside may write to |
//! | `text` | a text that stands in the secret file, in the caller's environment and in a process's memory |
//! | `pid`, `address` | a process outside, of the same user; where in its memory the text stands |
//! | `parent` | the caller of the jail |
//! | `pidns` | the caller's process namespace, as /proc/self/ns/pid names it |
//! | `abstract`, `socket` | an abstract socket and a path that somebody listens on |
//! | `shm`, `sem`, `msg` | SysV objects, as `KEY:ID` |
//! | `memory`, `queue` | names of POSIX shared memory and of a message queue |
//! | `key` | a serial number of a key in the caller's keyrings, `keyname` their description |
//! | `env` | a variable that was declared |
//! | `suid`, `filecap` | a set-uid copy, and one with file capabilities, of this program, as named inside |
//! | `groupfile` | a file that was let in and that only a supplementary group of the caller may read |
//! | `tmp`, `devshm` | how many bytes fit into /tmp and /dev/shm |
//! | `pids`, `bytes` | limits that were set on processes and memory |
//! | `listen` | the only TCP port that the jail may bind |
//! | `own` | `ro` when /app is read-only, as it is for a worker; a build step may write to it |
//! | `net` | `shared` when the jail has the host's network |

#[derive(Clone, Debug, Default)]
pub(crate) struct Facts(Vec<(String, String)>);

impl Facts {
    /// Parses the words; those without an equals sign are ignored.
    pub(crate) fn parse(words: &[String]) -> Self {
        let pairs = words.iter().filter_map(|word| word.split_once('='));
        Self(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    pub(crate) fn all<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        let key = key.to_owned();
        self.0.iter().filter(move |(name, _)| *name == key).map(|(_, value)| value.as_str())
    }

    pub(crate) fn number(&self, key: &str) -> Option<usize> {
        self.get(key)?.parse().ok()
    }

    /// Returns the values of a key that are numbers.
    pub(crate) fn numbers(&self, key: &str) -> Vec<usize> {
        self.all(key).filter_map(|value| value.parse().ok()).collect()
    }
}
