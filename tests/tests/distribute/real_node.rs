//! An app on a node that runs its containers: the verbs whose effect a simulated node does not have.
//!
//! `PIKU_TEST_KUBECONFIG` names the kubeconfig of an administrator. The nodes reach the loopback of this machine, where
//! the registry of the test is, as a kubelet in the network namespace of the test does.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use piku_tests::cluster::RegistryServer;
use piku_tests::skip;
use piku_tests::world::{World, wait_for};

use super::control_plane::TestNamespace;

const BUSYBOX: &str = "/bin/busybox";
/// SHA-256 of three million times `x`.
const SUM: &str = "e55b8bdf621ddaa8f462c74745db9680d3bb7536a9cf854f8d6668b34a287890";
const APPLETS: [&str; 9] = ["sh", "cat", "httpd", "id", "ls", "mkdir", "sha256sum", "sleep", "stty"];

/// Makes a base with a shell and a server, of one static program. Returns false, with a message, without it.
fn make_base(base: &Path) -> bool {
    let list = Command::new(BUSYBOX).arg("--list").output();
    let has_server = list.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains("httpd"));
    if !has_server {
        skip("an app on a real node: busybox-static is missing");
        return false;
    }
    fs::create_dir_all(base.join("bin")).expect("a base");
    fs::copy(BUSYBOX, base.join("bin/busybox")).expect("the program");
    for name in APPLETS {
        symlink("busybox", base.join("bin").join(name)).expect("a link");
    }
    // Commands of an app are for bash where the machine that builds has it.
    let script = base.join("bin/bash");
    fs::write(&script, "#!/bin/sh\nexec /bin/sh \"$@\"\n").expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("its mode");
    true
}

struct NodeScene {
    world: World,
    namespace: TestNamespace,
    _registry: RegistryServer,
}

impl NodeScene {
    fn new() -> Option<Self> {
        let world = World::new();
        let registry = RegistryServer::start(&world.path(""))?;
        if !make_base(&world.path("base")) {
            return None;
        }
        let namespace = TestNamespace::create();
        for level in ["enforce", "warn"] {
            let label = format!("pod-security.kubernetes.io/{level}=restricted");
            namespace.kubectl(&["label", "namespace", &namespace.name, &label]);
        }
        let kubeconfig = namespace.give_account(&world);
        world.set_settings(&format!(
            "deploy_to:\n  blog:\n    kubernetes:\n      {{context: test, namespace: {}, kubeconfig: '{}', registry: \
             '{}/apps', registry_tls: false, base: '{}'}}\n",
            namespace.name,
            kubeconfig.display(),
            registry.address(),
            world.path("base").display()
        ));
        Some(Self { world, namespace, _registry: registry })
    }

    fn verb(&self, words: &str) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = self.world.ssh("laptop", words);
        let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        (status.code(), stdout, stderr)
    }

    fn succeeds(&self, words: &str) -> String {
        let (code, stdout, stderr) = self.verb(words);
        assert_eq!(code, Some(0), "{words}: {stdout}{stderr}");
        stdout
    }
}

#[test]
#[ignore = "needs a cluster with a real node: PIKU_TEST_KUBECONFIG, the kubeconfig of its administrator"]
fn an_app_runs_on_a_real_node() {
    let Some(scene) = NodeScene::new() else { return };
    let repo = scene.world.repo("blog");
    let web = "web: echo serving $GREETING as $(id -u); exec httpd -f -p $PORT -h /app\n";
    repo.file("Procfile", format!("{web}release: echo migrating as $(id -u)\n"))
        .file("ENV", "GREETING=hello\nWEB_MEMORY_LIMIT=64m\n")
        .commit("One");
    let said = repo.push().succeeds();
    assert!(said.contains("migrating as 1000") && said.contains("blog is live, release 1"), "{said}");
    assert!(scene.succeeds("ps blog").contains("healthy"));
    assert!(scene.succeeds("logs blog web").contains("serving hello as 1000"));

    // Nothing that a command prints is lost, however short it is, and its exit code comes back.
    for _ in 0..3 {
        let (code, stdout, stderr) = scene.verb("run blog 'echo one; echo two; sleep 1; echo three; exit 7'");
        assert_eq!((code, stdout.as_str()), (Some(7), "one\ntwo\nthree\n"), "{stderr}");
    }
    assert_eq!(scene.verb("run blog -- no-such-command").0, Some(127));
    let mut client = scene.world.start_ssh("laptop", "run blog sha256sum");
    let sent = vec![b'x'; 3_000_000];
    client.stdin.take().expect("a pipe").write_all(&sent).expect("the input");
    let out = client.wait_with_output().expect("its output");
    assert!(out.status.success() && String::from_utf8_lossy(&out.stdout).contains(SUM), "{out:?}");
    let confined = scene.succeeds("run blog 'cat /proc/self/status; echo x >/x || echo read-only'");
    for part in ["NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000", "read-only"] {
        assert!(confined.contains(part), "{part}: {confined}");
    }
    let out = scene.world.ssh_on_a_terminal("laptop", "run blog 'test -t 0; echo terminal: $? $TERM'");
    let shown = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && shown.contains("terminal: 0 "), "{shown}");

    // A client that is cut off leaves no pod.
    let one_offs = || {
        let selector = "app.kubernetes.io/component=run";
        scene.namespace.kubectl(&["get", "pods", "--selector", selector, "--output=name"])
    };
    let mut client = scene.world.start_ssh("laptop", "run blog sleep 1000");
    wait_for("the pod", || scene.succeeds("ps blog").contains("run"));
    client.kill().expect("the session");
    client.wait().expect("the session");
    wait_for("the end of the pod", || one_offs().is_empty());

    scene.succeeds("ps:scale blog web=2");
    scene.succeeds("config:set blog GREETING=moin");
    assert!(scene.succeeds("logs blog web").contains("serving moin"));
    repo.file("Procfile", "web: echo no database; exit 3\n").commit("Crash");
    repo.push().fails_with(&["crashes again and again: exit 3", "no database", "release 2 serves on"]);
    scene.succeeds("rollback blog 1");
    let limits = "{\"apiVersion\":\"v1\",\"kind\":\"ResourceQuota\",\"metadata\":{\"name\":\"q\"},\
                  \"spec\":{\"hard\":{\"pods\":\"2\"}}}";
    scene.namespace.apply(limits);
    let (code, _, stderr) = scene.verb("config:set blog GREETING=servus");
    assert!(
        code != Some(0) && stderr.contains("the cluster refuses its pods: exceeded quota: q"),
        "{stderr}"
    );
    scene.succeeds("destroy blog --confirm blog");
}
