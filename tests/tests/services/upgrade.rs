//! Other versions of a server.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use piku_tests::snapshot::text;
use piku_tests::world::{World, wait_for};

use crate::postgres::{sql, with_postgres};
use crate::{says, says_with};

/// A server that keeps the last line of each name, and has two versions with files of different names.
const SERVER: &str = r#"#!/usr/bin/python3
import os, socketserver, sys
file = os.environ["DATA_DIR"] + "/values." + os.environ["SERVICE_VERSION"]
open(file, "a").close()
class Line(socketserver.StreamRequestHandler):
    def handle(self):
        name, _, value = self.rfile.readline().decode().strip().partition("=")
        values = dict(line.split("=", 1) for line in open(file).read().split())
        if value:
            values[name] = value
            with open(file + ".new", "w") as new:
                new.write("".join(f"{name}={value}\n" for name, value in values.items()))
            os.rename(file + ".new", file)
        self.wfile.write((os.environ["SERVICE_VERSION"] + " " + values.get(name, "-") + "\n").encode())
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("127.0.0.1", int(os.environ["PORT"])), Line).serve_forever()
"#;
const CLIENT: &str = r#"#!/usr/bin/python3
import os, socket, sys
def ask(line):
    with socket.create_connection(("127.0.0.1", int(os.environ["SERVICE_PORT"])), 10) as server:
        server.sendall(line.encode() + b"\n")
        return server.makefile().read().split()
me = os.environ["BINDING_NAME"]
match os.path.basename(sys.argv[0]):
    case "console":
        for line in sys.stdin: print(*ask(me + ("=" + line.strip() if line.strip() else "")))
    case "dump": print(ask(me)[1])
    case "restore":
        value = sys.stdin.read().strip()
        if value == "damaged" or not value: sys.exit("a bad dump")
        ask(me + "=" + value)
    case "bind":
        print(os.environ["BINDING_VARIABLE"] + "_URL=lines://" + os.environ["SERVICE_PORT"])
"#;

/// A world with a kind of service that has these versions, and an app that is bound to a service of it.
fn with_lines(versions: &str) -> World {
    let world = World::new();
    let folder = world.root().join("services.d/lines");
    fs::create_dir_all(&folder).expect("the kind");
    fs::write(folder.join("kind.yaml"), "description: Lines\npackage: lines\nvariable: LINES\n").expect("it");
    let versions = format!("#!/bin/sh\nprintf '%s\\n' {versions}\n");
    let programs = [("versions", versions.as_str()), ("start", SERVER)];
    let clients = ["bind", "unbind", "drop", "console", "dump", "restore"].map(|name| (name, CLIENT));
    for (name, program) in programs.into_iter().chain(clients) {
        fs::write(folder.join(name), program).expect(name);
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).expect(name);
    }
    says(&world, "laptop", "service:create lines --version 1", 0);
    world.repo("blog").serves("x\n").commit("One").push().succeeds();
    says(&world, "laptop", "service:bind lines blog", 0);
    assert_eq!(console(&world, "one\n"), "1 one\n");
    world
}

fn console(world: &World, line: &str) -> String {
    let out = says_with(world, "service:console blog", line.as_bytes());
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

#[test]
fn data_follows_to_the_new_version_and_back() {
    let world = with_lines("3 2 1");
    // Without space for the data once more, the server is not even stopped.
    world.set_settings("disk_reserve: 1000000000");
    let said = says(&world, "laptop", "service:upgrade lines --version 2", 1);
    assert!(said.contains("the upgraded data") && !said.contains("Stopping"), "{said}");
    assert_eq!(console(&world, "\n"), "1 one\n");
    world.set_settings("");
    let said = says(&world, "laptop", "service:upgrade lines --version 2", 0);
    assert!(said.contains("lines is Lines 2, with its data") && said.contains("--confirm lines"), "{said}");
    assert_eq!(console(&world, "\ntwo\n"), "2 one\n2 two\n");
    assert!(says(&world, "laptop", "service:info lines", 0).contains("the data of version 1 is kept"));
    // The next one only when this one is confirmed or undone.
    assert!(says(&world, "laptop", "service:upgrade lines", 1).contains("the old data of lines, of Lines 1"));
    assert!(says(&world, "laptop", "service:upgrade lines --undo", 0).contains("is Lines 1 again"));
    assert_eq!(console(&world, "\n"), "1 one\n");
    says(&world, "laptop", "service:upgrade lines --undo", 1);

    let said = says(&world, "laptop", "service:upgrade lines", 0);
    assert!(said.contains("lines is Lines 3"), "{said}");
    says(&world, "laptop", "service:upgrade lines --confirm other", 2);
    says(&world, "laptop", "service:upgrade lines --confirm lines", 0);
    let dir = world.root().join("services/lines");
    assert!(!dir.join("data.old").exists() && !dir.join("data.new").exists());
    assert_eq!(console(&world, "\n"), "3 one\n");
    assert!(says(&world, "laptop", "service:upgrade lines", 0).contains("is Lines 3 already"));
    assert!(says(&world, "laptop", "service:upgrade lines --version 2", 1).contains("older than 3"));
    assert!(says(&world, "laptop", "service:upgrade lines --version 4", 1).contains("installed: 3, 2, 1"));

    // Data that was dropped since the upgrade does not come back to a later app of that name.
    says(&world, "laptop", "service:upgrade lines --rebuild", 0);
    says(&world, "laptop", "service:unbind lines blog", 0);
    let said = says(&world, "laptop", "service:drop lines blog --confirm blog", 0);
    assert!(
        said.contains("before the upgrade has it until: piku service:upgrade lines --confirm lines"),
        "{said}"
    );
    says(&world, "laptop", "service:bind lines blog", 0);
    let said = says(&world, "laptop", "service:upgrade lines --undo", 1);
    assert!(said.contains("which was removed since the upgrade"), "{said}");
    says(&world, "laptop", "service:upgrade lines --confirm lines", 0);

    // Unbound data comes along, and a limited key may do none of this.
    says(&world, "laptop", "service:unbind lines blog", 0);
    says(&world, "laptop", "service:upgrade lines --rebuild", 0);
    says(&world, "laptop", "service:bind lines blog", 0);
    assert_eq!(console(&world, "damaged\n"), "3 damaged\n");
    world.add_key("guest", &["blog"]);
    says(&world, "guest", "service:upgrade lines --undo", 1);
    says(&world, "laptop", "service:upgrade lines --confirm lines", 0);
    // A dump that the new version does not take: all is as it was.
    let said = says(&world, "laptop", "service:upgrade lines --rebuild", 1);
    assert!(
        said.contains("lines is not upgraded, and is as it was") && said.contains("a bad dump"),
        "{said}"
    );
    assert_eq!(console(&world, "\n"), "3 damaged\n");
}

#[test]
fn killed_upgrade_leaves_a_server_with_its_data() {
    let world = with_lines("2 1");
    let state = || fs::read_to_string(world.root().join("services/lines/state.json")).expect("the state");
    let folder = world.root().join("services.d/lines");
    // Killed at an instant that is certain: in 'restore', which waits.
    let waits = CLIENT.replace("value = sys", "import time; time.sleep(30); value = sys");
    fs::write(folder.join("restore"), waits).expect("restore");
    let upgrade = world.start_ssh("laptop", "service:upgrade lines");
    wait_for("the new server", || world.root().join("services/lines/data.new/values.2").exists());
    let line = format!("service{0}upgrade{0}lines{0}", '\0');
    let mut killed = 0;
    for entry in fs::read_dir("/proc").expect("proc").flatten() {
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let command = String::from_utf8_lossy(&read("cmdline")).into_owned();
        let is_of_this_world =
            String::from_utf8_lossy(&read("environ")).contains(&world.root().display().to_string());
        if command.ends_with(&line) && is_of_this_world {
            let pid = entry.file_name();
            assert!(
                std::process::Command::new("kill").arg("-KILL").arg(pid).status().expect("kill").success()
            );
            killed += 1;
        }
    }
    assert_eq!(killed, 1);
    let out = upgrade.wait_with_output().expect("ssh");
    assert!(!out.status.success(), "{}", text(&out));
    // Without another command.
    wait_for("the old server", || console(&world, "\n") == "1 one\n");
    wait_for("the end of the upgrade", || !state().contains("upgrade"));
    assert!(!world.root().join("services/lines/data.new").exists());

    // As if the power had failed after the new data was made, at each step of the exchange.
    fs::write(folder.join("restore"), CLIENT).expect("restore");
    says(&world, "laptop", "service:upgrade lines", 0);
    says(&world, "laptop", "stop lines", 0);
    let dir = world.root().join("services/lines");
    let written = state().replace("\"kept\"", "\"switching\"");
    fs::rename(dir.join("data"), dir.join("data.new")).expect("the new data");
    fs::write(dir.join("state.json"), &written).expect("the state");
    says(&world, "laptop", "start lines", 0);
    wait_for("the new server", || console(&world, "\n") == "2 one\n");
    let said = says(&world, "laptop", "service:upgrade lines --undo", 0);
    assert!(said.contains("finished the interrupted upgrade of lines to 2"), "{said}");
    assert_eq!(console(&world, "\n"), "1 one\n");
}

#[test]
fn postgres_is_built_anew_with_all_databases() {
    let world = with_postgres("");
    says(&world, "laptop", "service:bind postgres blog", 0);
    says(&world, "laptop", "deploy blog", 0);
    sql(&world, "blog", "INSERT INTO visits DEFAULT VALUES");
    says(&world, "laptop", "service:bind postgres kept", 0);
    sql(&world, "kept", "CREATE TABLE seven AS SELECT 7 AS id");
    says(&world, "laptop", "service:unbind postgres kept", 0);
    says(&world, "laptop", "service:upgrade postgres --rebuild", 0);
    wait_for("the app", || world.page("blog") == "1\n");
    sql(&world, "blog", "INSERT INTO visits DEFAULT VALUES");
    says(&world, "laptop", "service:bind postgres kept", 0);
    assert!(sql(&world, "kept", "SELECT * FROM seven").contains('7'));
    // Back, with another password than the old data has.
    says(&world, "laptop", "service:upgrade postgres --undo", 0);
    wait_for("the app", || world.page("blog") == "1\n");
    assert!(sql(&world, "kept", "SELECT * FROM seven").contains('7'));
}

#[test]
fn mariadb_converts_a_copy_of_its_data() {
    let world = World::new();
    says(&world, "laptop", "service:create mariadb", 0);
    says(&world, "laptop", "service:bind mariadb blog", 0);
    let rows = |statements: &str| text(&says_with(&world, "service:console blog", statements.as_bytes()));
    assert_eq!(rows("CREATE TABLE seven AS SELECT 7 AS id"), "");
    // As if the data was that of a version which Debian has replaced: its server does not start.
    says(&world, "laptop", "stop mariadb", 0);
    let path = world.root().join("services/mariadb/state.json");
    let state: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).expect("the state")).expect("JSON");
    let version = state["version"].as_str().expect("a version").to_owned();
    let state = state.to_string().replacen(&format!("\"{version}\""), "\"10.1\"", 1);
    fs::write(&path, state).expect("the state");
    says(&world, "laptop", "start mariadb", 1);
    let said = says(&world, "laptop", "service:upgrade mariadb", 0);
    assert!(said.contains("Converting the data") && said.contains(&version), "{said}");
    assert!(said.contains("it is stopped"), "{said}");
    says(&world, "laptop", "start mariadb", 0);
    assert_eq!(rows("SELECT * FROM seven"), "id\n7\n");
}
