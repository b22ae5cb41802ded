//! Tables of exit codes for the help and the manuals.

pub(crate) const MAIN: &str = "\
Exit status:
  0  success; after a push, the deployed commit is live
  1  refused or failed; after a push, the deploy failed
  2  wrong usage, or a request that does not exist
  n  after a verb, its exit code, or 128 + n if signal n ended it";
pub(crate) const COMMAND: &str = "\
Exit status:
  0  success
  1  failure
  2  wrong usage";
pub(crate) const DEPLOY: &str = "\
Exit status:
  0  the commit is live, or a dry run has printed its plan
  1  the deploy failed
  2  wrong usage
  75 the app's lock was not free in time";
pub(crate) const CANCEL: &str = "\
Exit status:
  0  the build has ended
  1  no build is running
  2  wrong usage
  75 the build survives SIGKILL";
pub(crate) const DISTRIBUTE: &str = "\
Exit status:
  0  success on every machine
  1  failure on at least one machine
  2  wrong usage";
pub(crate) const CATCH_UP: &str = "\
Exit status:
  0  all machines that are back have the release
  1  it failed on at least one machine, which waits for the next release
  2  wrong usage
  75 the app is being changed";
pub(crate) const TARGETS: &str = "\
Exit status:
  0  the list is printed
  1  no machine can be used, or one failed and 'all_or_nothing' is set
  2  wrong usage";
pub(crate) const RELAY: &str = "\
Exit status:
  0  the verb has been executed everywhere
  1  failure on at least one machine
  2  wrong usage
  n  of a command on one machine, or a verb on this one: its exit code";
