//! Debian's `PostgreSQL` as an app's own child: a cluster in the app's data, sockets in the private /tmp and
//! on the loopback.

use std::fs;
use std::path::PathBuf;

use crate::machine::skipped;
use crate::scene::{Scene, User};
use crate::work::{builder, works};

const WORK: &str = r#"
initdb --pgdata=/data/cluster --encoding=UTF8 --locale=C.UTF-8 --auth=trust --username=app >/tmp/initdb 2>&1 || {
    cat /tmp/initdb
    exit 1
}
postgres -D /data/cluster -k /tmp -c listen_addresses=127.0.0.1 -c port=$1 >/tmp/log 2>&1 &
server=$!
trap 'cat /tmp/log' EXIT
tries=0
until pg_isready --quiet --host=/tmp --port=$1; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] && kill -0 $server
    sleep 0.1
done
export PGUSER=app PGDATABASE=postgres PGPORT=$1
ask() { psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 "$@"; }
ask --host=/tmp --command='create table t (n int)' --command='insert into t select generate_series(1, 100000)'
ask --host=127.0.0.1 --command='set max_parallel_workers_per_gather = 2' --command='set parallel_setup_cost = 0' \
    --command='set parallel_tuple_cost = 0' --command='set min_parallel_table_scan_size = 0' --command='select sum(n) from t'
ask --host=/tmp --command='vacuum analyze t' --command='create index on t (n)' --command='select n from t where n = 777'
kill -INT $server
wait $server
echo "ended: $?"
trap - EXIT
"#;

#[test]
fn postgres() {
    let scene = Scene::new(builder());
    if builder() == User::Own && nix::unistd::geteuid().is_root() {
        return skipped("PostgreSQL", "it refuses to run as root");
    }
    let Some(bin) = newest() else { return skipped("PostgreSQL", "there is no server of Debian's here") };
    scene.folder("app");
    let path = format!("--env=PATH={}:/usr/bin:/bin", bin.display());
    let port = piku_tests::ports::free_port();
    let out = works(&scene, &scene, &[path], &format!("set -eu -- {port}\n{WORK}"));
    assert_eq!(out, "5000050000\n777\nended: 0\n");
}

/// The programs of the newest server.
fn newest() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path().join("bin"));
    let mut versions: Vec<_> = versions.filter(|bin| bin.join("initdb").exists()).collect();
    versions.sort();
    versions.pop()
}
