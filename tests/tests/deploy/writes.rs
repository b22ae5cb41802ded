//! Writes and syncs of a redeploy, counted: a card on a Pi takes tens of milliseconds for each sync, and a sync of the whole file
//! system waits for what everybody else writes.

use std::fs::File;

use piku_tests::processes;
use piku_tests::trace::CallTrace;
use piku_tests::world::World;

/// The most syncs that a redeploy of a small app takes, all processes of the server together.
const MOST: usize = 8;
/// The same where a file system keeps no order, and each new file and each folder is synced by itself.
const MOST_WITHOUT_ORDER: usize = 40;

#[test]
fn redeploy_syncs_few_files() {
    let world = World::new();
    let repo = world.repo("blog");
    repo.serves("first\n").file("templates/index.html", "x").file("static/css/site.css", "x").commit("First");
    repo.push().succeeds();
    repo.file("page", "second\n").commit("Second");
    repo.push().succeeds();

    let root = world.root();
    let supervisors = processes::find(&root, "supervise blog");
    let daemons = processes::find(&root, "piku-run daemon");
    assert_eq!((supervisors.len(), daemons.len()), (1, 1));
    let pids = [supervisors, daemons, vec![world.sshd_pid()]].concat();
    let calls = "fsync,fdatasync,syncfs,sync,msync";
    let Some(trace) = CallTrace::begin(&pids, calls, &world.path("strace")) else { return };
    repo.file("page", "third\n").commit("Third");
    repo.push().succeeds();
    let calls = trace.end();
    assert_eq!(world.page("blog"), "third\n");

    let told = calls.join("\n");
    let whole = |line: &&String| line.contains("syncfs(") || line.contains(" sync(");
    assert_eq!(calls.iter().filter(whole).count(), 0, "the whole disk was synced:\n{told}");
    let ordered = piku_files::keeps_order(File::open(root).expect("the root"));
    let most = if ordered { MOST } else { MOST_WITHOUT_ORDER };
    assert!(calls.len() <= most, "{} syncs, at most {most} expected:\n{told}", calls.len());
    // The refs, the live release and the audit log are on the disk.
    for what in ["repo.git", "apps/blog>", "audit.log"] {
        assert!(calls.iter().any(|line| line.contains(what)), "nobody has synced {what}:\n{told}");
    }
}
