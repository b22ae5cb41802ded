//! Hints for instances whose last log lines show that they met a restriction of their jail.

pub(crate) mod no_space;
pub(crate) mod refused_writes;

use std::path::Path;

use piku_chroot::report::JailStart;

use self::no_space::explain_no_space;
use self::refused_writes::{AppTree, explain_refused_write};
use super::AppSupervisor;
use super::worker::InstanceProcess;
use crate::grants::hint::explain_missing;
use crate::instance::environment::{ProcessRole, ReleaseContext};
use crate::instance::tree_access::TreeAccess;
use crate::instance::unkept_files::find_databases;

/// Messages of programs that may not bind a port, in lower case.
const REFUSED: [&str; 3] = ["permission denied", "permissionerror", "eacces"];
/// Number of last lines in which the cause of an end is searched for.
pub(super) const LINES: usize = 40;

impl AppSupervisor {
    /// Returns hints for the author of an app, by the last lines of an instance.
    pub(super) fn hints(&self, tail: &[String]) -> Vec<String> {
        let grant = self.explain_missing_grant(tail);
        let no_space = self.explain_no_space(tail);
        let hints = hints(tail, self.kernel_restricts_ports);
        hints.into_iter().chain(no_space).chain(grant).collect()
    }

    /// Returns a line for the operator if a write of a process found no space, by its last lines.
    pub(super) fn explain_no_space(&self, lines: &[String]) -> Option<String> {
        explain_no_space(lines, &self.dir, || self.current_settings().reserve_bytes())
    }

    /// Returns how the operator grants a device or socket that the lines name and the app may not use.
    pub(super) fn explain_missing_grant(&self, lines: &[String]) -> Option<String> {
        let is_granted = |path: &Path| {
            self.current_settings().grants.of(&self.app).iter().any(|grant| path.starts_with(grant.path()))
        };
        explain_missing(&self.root, &self.app, is_granted, lines)
    }

    /// Returns a line about the last write that was refused to a process, by its last lines and the report of
    /// its jail.
    pub(super) fn explain_refusal(
        &self,
        worker: &InstanceProcess,
        jail: Option<&JailStart>,
        lines: &[String],
    ) -> Option<String> {
        let has_no_overlay = jail.is_some_and(|jail| jail.read_only_app);
        explain_refused_write(lines, || AppTree::new(self.is_read_only_by_choice(worker), has_no_overlay))
    }

    /// Warns of databases that end with the processes that have made them. Processes of the old release may
    /// still have what this one keeps.
    pub(super) fn warn_of_databases(&self, number: u64) -> Option<String> {
        let (world, _) = self.worlds.get(&number)?;
        let vars = world.vars(ProcessRole { ps: "web.1", kind: "web", port: None }).ok()?;
        let kept = TreeAccess::of(&vars).ok()?.kept;
        let is_kept = |path: &str| kept.iter().any(|kept| Path::new(path).starts_with(kept.path()));
        let found: Vec<String> =
            find_databases(&self.dir.scratch()).into_iter().filter(|path| !is_kept(path)).collect();
        let found = found.join(",");
        (!found.is_empty()).then(|| {
            format!("{found} in /app ends with its process; WRITABLE_PATHS={found} in ENV keeps it in /data")
        })
    }

    fn is_read_only_by_choice(&self, worker: &InstanceProcess) -> bool {
        let record = &worker.record;
        let (ps, kind) = (record.ps.to_string(), record.ps.kind.as_str());
        let role = ProcessRole { ps: &ps, kind, port: record.port };
        ReleaseContext::read(&self.root, &self.app, record.release)
            .and_then(|world| TreeAccess::of(&world.vars(role)?))
            .is_ok_and(|access| access.is_read_only)
    }
}

fn hints(tail: &[String], guards_ports: bool) -> Vec<String> {
    let says = |words: &[&str]| tail.iter().any(|line| is_one_of(words, line));
    let mut hints = Vec::new();
    if guards_ports && says(&REFUSED) {
        let what = "an app may listen on the port in $PORT, and on those that LISTEN_PORTS in ENV names";
        let mut refused = tail.iter().rev().filter(|line| is_one_of(&REFUSED, line));
        let port = refused.find_map(|line| named_port(line)).unwrap_or(8080);
        hints.push(format!("if that was a port: {what}; PORT={port} in ENV gives 'web' that port"));
    }
    hints
}

fn is_one_of(words: &[&str], line: &str) -> bool {
    let line = line.to_lowercase();
    words.iter().any(|word| line.contains(word))
}

/// Returns the port after the last `:` or `port ` of a line, if an app could be given it.
fn named_port(line: &str) -> Option<u16> {
    let line = line.to_lowercase();
    let after = [line.rsplit_once(':'), line.rsplit_once("port ")].into_iter().flatten();
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    after.filter_map(|(_, rest)| digits(rest).parse().ok()).find(|port| *port >= 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_meets_a_bound_is_told_how_to_move_it() {
        let hints = |line: &str| hints(&["Traceback:".to_owned(), line.to_owned()], true).concat();
        assert!(hints("PermissionError: [Errno 13] Permission denied").contains("LISTEN_PORTS"));
        assert!(hints("Error: listen EACCES: permission denied 0.0.0.0:80").contains("LISTEN_PORTS"));
        assert!(hints("listen EACCES: permission denied 0.0.0.0:3000").contains("PORT=3000 in ENV"));
        assert!(hints("PermissionError: cannot bind port 5000").contains("PORT=5000 in ENV"));
        assert!(hints("EACCES: permission denied 0.0.0.0:80").contains("PORT=8080 in ENV"));
        assert_eq!(hints("KeyError: 28"), "");
        assert!(super::hints(&["permission denied".to_owned()], false).is_empty());
    }
}
