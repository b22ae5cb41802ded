//! Exit codes of the commands, as help and manuals print them.

/// Exit codes that all commands share.
pub(super) const ALL: &str = "\
Exit status:
  0   done
  1   failed; the last lines say why
  2   the command line is wrong
  75  busy: try again
Each command's own manual has its own.";

/// Exit codes of commands that only read.
pub(super) const READ: &str = "\
Exit status:
  0  done
  1  failed; the last lines say why
  2  the command line is wrong";

/// Exit codes of commands that change something.
pub(super) const CHANGE: &str = "\
Exit status:
  0   done
  1   failed; the last lines say why, and what ran before still runs
  2   the command line is wrong
  75  another change of the app is under way, or the daemon does not answer: try again";

/// Exit codes of `daemon`.
pub(super) const DAEMON: &str = "\
Exit status:
  0   ended by SIGTERM or SIGINT
  1   failed; the last lines say why
  2   the command line is wrong
  75  a daemon already runs for this root";

/// Exit codes of `nginx`.
pub(super) const NGINX: &str = "\
Exit status:
  0   ended by SIGTERM; with --check: nginx takes the files
  1   failed; the last lines say why; with --check: nginx refuses a file
  2   the command line is wrong
  75  piku's nginx is kept running already";

/// Exit codes of `start`.
pub(super) const START: &str = "\
Exit status:
  0      all processes have ended, and none failed before it was told to stop
  1      the processes cannot be started; the last lines say why
  2      the command line is wrong
  other  that of the first process that failed, 128+n after signal n";

/// Exit codes of `exec`.
pub(super) const EXEC: &str = "\
Exit status:
  1      there is no such app, or it has no release
  125    the jail for the command cannot be made
  126    the command cannot be run
  127    there is no such program
  other  that of the command, 128+n after signal n; 2 also when the command line is wrong";
