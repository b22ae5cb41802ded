//! Python: a virtual environment with packages from the index, numpy, processes with shared memory, gunicorn.

use crate::machine::programs;
use crate::scene::{Scene, users};
use crate::server::Server;
use crate::work::{builder, fetch, running, scene, works};

const INSTALL: &str = "export PIP_CACHE_DIR=\"$HOME/.cache/pip\" PIP_DISABLE_PIP_VERSION_CHECK=1
python3 -m venv venv && venv/bin/pip install --quiet numpy gunicorn";

const NUMBERS: &str = "
import numpy
a = numpy.arange(250000.0).reshape(500, 500) % 7 + 500 * numpy.eye(500)
assert numpy.allclose(a @ numpy.linalg.inv(a), numpy.eye(500))
print(numpy.array([[1, 2], [3, 4]]) @ numpy.array([1, 1]))
";

/// All three ways of starting, and memory that a child writes and the parent reads.
const PROCESSES: &str = "
import multiprocessing, os
from multiprocessing import shared_memory
if __name__ == '__main__':
    memory = shared_memory.SharedMemory(create=True, size=32 << 20)
    for method in 'fork', 'spawn', 'forkserver':
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool: assert pool.map(abs, [-1, -2]) == [1, 2]
        child = context.Process(target=memory.buf.__setitem__ if method == 'fork' else print, args=(-1, 7) if method == 'fork' else ())
        child.start()
        child.join()
        assert child.exitcode == 0
    print(memory.buf[-1], memory.name in os.listdir('/dev/shm'))
    memory.close()
    memory.unlink()
";

const DATABASE: &str = "
import sqlite3
with sqlite3.connect('/data/db') as db:
    print(db.execute('pragma journal_mode = wal').fetchone())
    db.execute('create table t (n)')
    db.executemany('insert into t values (?)', [(n,) for n in range(1000)])
print(db.execute('select sum(n) from t').fetchone())
";

const APP: &str = "
import os, subprocess
def app(environ, start):
    start('200 OK', [])
    return [subprocess.run(['ps', '-A', '-o', 'args'], capture_output=True).stdout]
";

#[test]
fn python() {
    let files =
        [("app.py", APP), ("numbers_.py", NUMBERS), ("processes.py", PROCESSES), ("database.py", DATABASE)];
    let made = scene(builder(), &files);
    let Some(options) = programs(&made, &["python3", "ps"]) else { return };
    if !fetch(&made, "numpy and gunicorn", &options, INSTALL) {
        return;
    }
    for user in users() {
        let scene = Scene::new(user);
        let works = |script: &str| works(&scene, &made, &options, script);
        assert_eq!(works("venv/bin/python numbers_.py"), "[3 7]\n");
        assert_eq!(works("venv/bin/python processes.py"), "\n\n7 True\n");
        assert_eq!(works("venv/bin/python database.py"), "('wal',)\n(499500,)\n");
        gunicorn(&scene, &made, &options);
    }
}

fn gunicorn(scene: &Scene, made: &Scene, options: &[String]) {
    let line = "exec venv/bin/gunicorn --workers 2 --worker-tmp-dir /dev/shm --bind 127.0.0.1:0 app:app 2>&1";
    let mut server = Server::start(running(scene, made, options, &["sh", "-c", line]));
    for _ in 0..2 {
        server.until_line("Booting worker");
    }
    let processes = server.get("/");
    let count = processes.lines().filter(|line| line.contains("bin/gunicorn --workers")).count();
    // The workers, the one that started them, and the jail's first process, which has their command line in
    // its own.
    assert_eq!(count, 4, "{processes}");
    assert_eq!(server.end(), Some(0));
}
