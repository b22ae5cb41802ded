//! Hints for instances whose last log lines show that they met a restriction of their jail.

use super::AppSupervisor;
use crate::grants::hint::explain_missing;

/// Messages of programs that may not bind a port, in lower case.
const REFUSED: [&str; 3] = ["permission denied", "permissionerror", "eacces"];
/// Messages of programs whose disk or `/tmp` is full, in lower case.
const FULL: [&str; 3] = ["no space left on device", "enospc", "errno 28]"];

impl AppSupervisor {
    /// Returns hints for the author of an app, by the last lines of an instance.
    pub(super) fn hints(&self, tail: &[String]) -> Vec<String> {
        let grant = self.explain_missing_grant(tail);
        hints(tail, self.kernel_restricts_ports).into_iter().chain(grant).collect()
    }

    /// Returns how the operator grants a device or socket that the lines name and the app may not use.
    pub(super) fn explain_missing_grant(&self, lines: &[String]) -> Option<String> {
        let settings = self.current_settings();
        explain_missing(&self.root, &self.app, settings.grants.of(&self.app), lines)
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
    if says(&FULL) {
        hints.push(
            "if that was in /tmp: it is in memory, and TMP_SIZE=256m in ENV makes it that large".to_owned(),
        );
    }
    hints
}

fn is_one_of(words: &[&str], line: &str) -> bool {
    let line = line.to_lowercase();
    words.iter().any(|word| line.contains(word))
}

/// Returns the port behind the last `:` or `port ` of a line, if an app could be given it.
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
        assert!(hints("OSError: [Errno 28] No space left on device").contains("TMP_SIZE"));
        assert!(hints("Error: ENOSPC, write").contains("TMP_SIZE"));
        assert_eq!(hints("KeyError: 28"), "");
        assert!(super::hints(&["permission denied".to_owned()], false).is_empty());
    }
}
