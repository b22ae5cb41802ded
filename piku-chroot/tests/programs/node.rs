//! Node: a package through npm with its cache, threads with shared memory, child processes, a server, and no
//! inspector.

use nix::sys::signal::Signal;

use crate::machine::programs;
use crate::scene::{Scene, users};
use crate::server::Server;
use crate::work::{builder, fetch, running, scene};

const PACKAGE: &str = r#"{
  "name": "app", "version": "1.0.0", "private": true,
  "scripts": {"start": "node server.js"},
  "dependencies": {"ms": "2.1.3"}
}"#;

const INSTALL: &str = "export npm_config_cache=\"$HOME/.npm\" npm_config_update_notifier=false
npm install --no-audit --no-fund && test -d .npm/_cacache && test -d node_modules/ms";

const SERVER: &str = "
const { Worker, isMainThread, workerData } = require('node:worker_threads');
if (!isMainThread) {
  for (let n = 0; n < 1000; n++) Atomics.add(workerData, 0, 1);
} else {
  const child = require('node:child_process');
  const crypto = require('node:crypto');
  const answers = {
    '/threads': done => {
      const count = new Int32Array(new SharedArrayBuffer(4));
      let running = 4;
      for (let n = 0; n < 4; n++)
        new Worker(__filename, { workerData: count }).on('exit', () => --running || done(count[0]));
    },
    '/child': done => child.execFile(process.execPath, ['-p', '6 * 7'], (err, out) => done(err ?? out)),
    '/pool': done => crypto.scrypt('a', 'b', 8, (err, key) => done(err ?? key.length)),
    '/package': done => done(require('ms')('2 days')),
    '/inspector': done => done(require('node:inspector').url() ?? 'closed'),
  };
  const server = require('node:http').createServer((request, response) =>
    answers[request.url](answer => response.end(String(answer).trim())));
  server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
  process.on('SIGTERM', () => server.close());
}
";

#[test]
fn node() {
    let made = scene(builder(), &[("package.json", PACKAGE), ("server.js", SERVER)]);
    let Some(mut options) = programs(&made, &["node", "npm"]) else { return };
    if !fetch(&made, "a package of npm's", &options, INSTALL) {
        return;
    }
    // As workers of piku have it.
    options.push("--env=NODE_OPTIONS=--inspect-port=192.0.2.1:9229".to_owned());
    for user in users() {
        let scene = Scene::new(user);
        let mut server =
            Server::start(running(&scene, &made, &options, &["sh", "-c", "exec node server.js 2>&1"]));
        assert_eq!(server.get("/threads"), "4000");
        assert_eq!(server.get("/child"), "42");
        assert_eq!(server.get("/pool"), "8");
        assert_eq!(server.get("/package"), "172800000");
        // By this signal everybody on the loopback could be given a debugger.
        server.signal(Signal::SIGUSR1);
        server.until_line("inspector");
        assert_eq!(server.get("/inspector"), "closed");
        assert_eq!(server.end(), Some(0));
    }
}

#[test]
fn npm_starts_what_a_procfile_says() {
    let made = scene(builder(), &[("package.json", &PACKAGE.replace("ms", "node")), ("server.js", SERVER)]);
    let Some(mut options) = programs(&made, &["node", "npm"]) else { return };
    options.push("--env=npm_config_cache=/tmp/.cache/npm".to_owned());
    for user in users() {
        let scene = Scene::new(user);
        let server = Server::start(running(&scene, &made, &options, &["npm", "start"]));
        assert_eq!(server.get("/child"), "42");
        server.end();
    }
}
