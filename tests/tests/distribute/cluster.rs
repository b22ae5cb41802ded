//! An app in a cluster of Kubernetes: each verb, and what is left after a failure. kubectl is a double with a
//! cluster of files.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use piku_tests::cluster::{KubectlDouble, RegistryServer, empty_base};
use piku_tests::processes;
use piku_tests::repo::Repo;
use piku_tests::world::{World, wait_for};

/// A world whose app `blog` runs in a cluster.
pub(super) struct ClusterScene {
    pub(super) world: World,
    pub(super) kubectl: KubectlDouble,
    registry: RegistryServer,
}

impl ClusterScene {
    pub(super) fn new() -> Option<Self> {
        let world = World::new();
        let registry = RegistryServer::start(&world.path(""))?;
        let kubectl = KubectlDouble::install(&world);
        let scene = Self { world, kubectl, registry };
        scene.use_cluster("patience: 0");
        Some(scene)
    }

    /// Writes `deploy_to` with the cluster and `more` settings.
    fn use_cluster(&self, more: &str) {
        self.write_settings("", more);
    }

    /// Writes `deploy_to` with a cluster whose nodes have these architectures, as YAML.
    pub(super) fn use_nodes(&self, architecture: &str) {
        self.write_settings(&format!(", architecture: {architecture}"), "patience: 0");
    }

    fn write_settings(&self, cluster: &str, more: &str) {
        let text = format!(
            "deploy_to:\n  blog:\n    kubernetes:\n      {{context: lab, namespace: default, kubectl: '{}', \
             registry: '{}/apps', registry_tls: false, base: '{}'{cluster}}}\n    {more}\n",
            self.kubectl.program().display(),
            self.registry.address(),
            empty_base(&self.world).display()
        );
        self.world.set_settings(&text);
    }

    /// Runs a verb over ssh; returns what it prints on both outputs.
    fn verb(&self, words: &str) -> (String, bool) {
        let Output { status, stdout, stderr } = self.world.ssh("laptop", words);
        let said = [stdout, stderr].concat();
        (String::from_utf8_lossy(&said).into_owned(), status.success())
    }

    pub(super) fn succeeds(&self, words: &str) -> String {
        let (said, is_well) = self.verb(words);
        assert!(is_well, "{words}: {said}");
        said
    }

    fn fails(&self, words: &str) -> String {
        let (said, is_well) = self.verb(words);
        assert!(!is_well, "{words}: {said}");
        said
    }

    /// Returns the type, the state and the release of each instance.
    fn ps(&self) -> Vec<String> {
        let field =
            |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let rows = self.world.ps("blog");
        rows.iter().map(|row| ["type", "state", "release"].map(|name| field(&row[name])).join(" ")).collect()
    }

    fn live(&self) -> PathBuf {
        fs::read_link(self.world.app("blog").join("current")).expect("a live release")
    }
}

pub(super) fn blog(world: &World) -> Repo {
    let repo = world.repo("blog");
    repo.file("Procfile", "web: ./serve\nworker: ./work\nrelease: ./migrate\ncron-tick: * * * * * ./tick\n")
        .file("ENV", "GREETING=hello\n");
    for program in ["serve", "work", "migrate", "tick"] {
        repo.program(program, "#!/bin/sh\nexec sleep 1000\n");
    }
    repo.commit("One");
    repo
}

#[test]
fn every_verb_works_for_an_app_in_a_cluster() {
    let Some(scene) = ClusterScene::new() else { return };
    let repo = blog(&scene.world);
    let said = repo.push().succeeds();
    for step in
        ["-----> Packing the image", "-----> Deploying to lab, namespace default", "Running the release task"]
    {
        assert!(said.contains(step), "{said}");
    }
    assert!(said.contains("this is release of release 1"), "the log of the release task: {said}");
    for pod in ["blog-release-1-0", "blog-web-"] {
        let has_event = |line: &str| line.contains(pod) && line.contains("Successfully assigned");
        assert!(said.lines().any(has_event), "the events of {pod}: {said}");
    }
    assert_eq!(scene.ps(), ["web healthy 1", "worker running 1", "cron-tick waiting 1"]);
    assert!(!scene.world.root().join("run/blog/supervisor.sock").exists(), "nothing runs here");
    // Not each cluster measures its pods.
    let usage = || {
        let rows = scene.world.ps("blog");
        ["cpu_percent", "memory_bytes"].map(|name| rows[0][name].clone())
    };
    assert_eq!(usage(), [serde_json::Value::Null, serde_json::Value::Null]);
    let containers = serde_json::json!([{"name": "web", "usage": {"cpu": "25m", "memory": "12Mi"}}]);
    scene.kubectl.set_metrics(&containers);
    assert_eq!(usage(), [serde_json::json!(2.5), serde_json::json!(12 << 20)]);

    // Another config is another release with the same image.
    let said = scene.succeeds("config:set blog GREETING=moin");
    assert!(!said.contains("Packing the image"), "{said}");
    assert_eq!(scene.ps(), ["web healthy 2", "worker running 2", "cron-tick waiting 2"]);
    assert!(scene.succeeds("releases blog").contains("set GREETING"));

    scene.succeeds("ps:scale blog web=3 worker=0 cron-tick=0");
    assert_eq!(scene.ps(), ["web healthy 2"; 3]);
    assert!(scene.succeeds("apps --long").contains("blog  running  2        3"));
    let said = scene.fails("ps:scale blog wobber=1");
    assert!(said.contains("blog has no process type 'wobber'"), "{said}");
    let log = scene.succeeds("logs blog web");
    assert_eq!(log.matches(": this is web of release 2").count(), 3, "{log}");
    let mut follower = scene.world.start_ssh("laptop", "logs blog -f");
    wait_for("a program for each pod", || scene.kubectl.followers() == 3);
    follower.kill().expect("the session");
    follower.wait().expect("the session");
    wait_for("their ends", || scene.kubectl.followers() == 0);
    let said = scene.fails("logs blog --ps mail");
    assert!(said.contains("no pod of blog is 'mail'"), "{said}");
    let out = scene.world.ssh("laptop", "run blog 'echo $HOME; exit 5'");
    assert_eq!(out.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&out.stdout).contains("echo $HOME"), "{out:?}");

    scene.succeeds("restart blog");
    let said = scene.succeeds("stop blog");
    assert!(said.contains("blog is stopped: web"), "{said}");
    assert_eq!(scene.ps(), ["web stopped 2", "web stopped 2", "web stopped 2"]);
    scene.succeeds("start blog");
    assert_eq!(scene.ps(), ["web healthy 2"; 3]);
    scene.succeeds("ps:scale blog web=1 cron-tick=1");
    scene.succeeds("restart blog cron-tick");
    scene.succeeds("rollback blog 1");
    let said = scene.fails("maintenance:on blog");
    assert!(said.contains("blog runs in a cluster: its requests do not pass here"), "{said}");
    let said = scene.fails("data:export blog");
    assert!(said.contains("blog has no data"), "{said}");
    assert_eq!(scene.ps(), ["web healthy 3", "cron-tick waiting 3"]);

    // Without the lines, the next start is here again.
    scene.world.set_settings("");
    let said = scene.fails("rename blog diary");
    assert!(said.contains("blog runs in a cluster under this name"), "{said}");
    scene.succeeds("ps:scale blog web=0 worker=1");
    scene.succeeds("restart blog");
    assert!(scene.ps().contains(&"worker running 3".to_owned()), "{:?}", scene.ps());
    let left: Vec<String> = scene.kubectl.objects().into_iter().collect();
    assert_eq!(left, [""; 0], "nothing is left");
    // And with them, there again.
    scene.use_cluster("patience: 0");
    scene.succeeds("restart blog");
    assert!(!scene.world.root().join("run/blog/supervisor.sock").exists(), "nothing runs here");
    // The same context, and another cluster: that before cannot be reached, and this one keeps what it has.
    scene.kubectl.set_server("https://elsewhere:6443");
    let said = scene.succeeds("restart blog");
    assert!(said.contains("the context lab leads to another cluster than https://lab:6443"), "{said}");
    assert!(scene.ps().contains(&"worker running 3".to_owned()), "{:?}", scene.ps());
    let record = fs::read_to_string(scene.world.app("blog").join("cluster.json")).expect("the record");
    assert!(record.contains("https://elsewhere:6443"), "{record}");
    assert!(!scene.world.app("blog").join("left-cluster.json").exists(), "nothing more can be done");
    scene.succeeds("destroy blog --confirm blog");
    assert!(!scene.kubectl.objects().iter().any(|name| name.starts_with("Deployment")));
}

#[test]
fn a_one_off_pod_ends_with_its_client() {
    let Some(scene) = ClusterScene::new() else { return };
    blog(&scene.world).push().succeeds();
    let pods =
        || scene.kubectl.objects().into_iter().filter(|name| name.starts_with("Pod/blog-run-")).count();
    let rows = || scene.ps().into_iter().filter(|row| row.starts_with("run ")).collect::<Vec<_>>();
    let mut client = scene.world.start_ssh("laptop", "run blog linger");
    wait_for("the pod", || pods() == 1);
    assert_eq!(rows(), ["run running 1"]);
    assert!(!scene.succeeds("logs blog").contains("this is run"), "its output is its client's");
    scene.succeeds("run blog true");
    assert_eq!(pods(), 1, "the other session keeps its pod");
    client.kill().expect("the session");
    client.wait().expect("the session");
    wait_for("the end of the pod", || pods() == 0);
    assert!(rows().is_empty());

    // A cluster that does not answer, to the one request or the other, holds no client.
    for (request, words) in
        [("create --filename", "run blog true"), ("timeout=20s pod blog-run", "run blog linger")]
    {
        scene.kubectl.set_hanging(Some(request));
        let mut client = scene.world.start_ssh("laptop", words);
        wait_for("the request", || !processes::find(&scene.world.path(""), request).is_empty());
        let sessions = processes::find(&scene.world.path(""), "exec blog");
        assert!(!sessions.is_empty(), "the process of the session");
        for pid in sessions {
            // It may be one of a process that ends with another.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        wait_for("the end of the session", || processes::find(&scene.world.path(""), "exec blog").is_empty());
        assert!(!client.wait().expect("the session").success());
        scene.kubectl.set_hanging(None);
        assert_eq!(pods(), 0);
    }

    // A session that is killed leaves its pod, which the next one removes.
    let mut client = scene.world.start_ssh("laptop", "run blog linger");
    wait_for("the pod", || pods() == 1);
    let sessions = processes::find(&scene.world.path(""), "exec blog");
    assert!(processes::kill_all(&sessions), "the process of the session");
    client.wait().expect("the session");
    assert_eq!(pods(), 1);
    scene.succeeds("run blog true");
    assert_eq!(pods(), 0);
    let names = fs::read_dir(scene.world.root().join("run/blog")).expect("the folder").flatten();
    let sessions = names.filter(|entry| entry.file_name().to_string_lossy().ends_with(".session")).count();
    assert_eq!(sessions, 0, "no lock stays");
}

#[test]
fn objects_of_others_are_not_changed() {
    let Some(scene) = ClusterScene::new() else { return };
    let repo = blog(&scene.world);
    repo.push().succeeds();
    let label = |instance: &str, manager: &str| {
        serde_json::json!({
            "app.kubernetes.io/instance": instance, "app.kubernetes.io/managed-by": manager,
            "app.kubernetes.io/component": "release",
        })
    };
    let foreign = |kind: &str, name: &str, labels: serde_json::Value| {
        let object = serde_json::json!({ "kind": kind, "metadata": { "name": name, "labels": labels } });
        scene.kubectl.put(&object);
        object
    };
    let of_app = foreign("CronJob", "blog-cron-tock", label("blog-cron", "piku"));
    let of_helm = foreign("Deployment", "blog-mail", label("blog", "Helm"));
    let running = foreign("Job", "blog-release-0", label("blog", "piku"));
    assert!(scene.kubectl.object("Job/blog-release-0") == Some(running), "it is there");
    let push = |line: &str| {
        repo.file("Procfile", format!("web: ./serve\nrelease: ./migrate\n{line}\n")).commit(line);
        repo.push()
    };
    let said = push("cron-tock: * * * * * ./tick")
        .fails_with(&["CronJob blog-cron-tock in the cluster belongs to the app blog-cron"]);
    assert!(!said.contains("Running the release task"), "{said}");
    push("mail: ./work")
        .fails_with(&["Deployment blog-mail in the cluster does not belong to blog", "hint: "]);
    assert_eq!(scene.ps(), ["web healthy 1", "worker running 1", "cron-tick waiting 1"]);

    // A release task that nobody watches is ended, and the next one when it cannot be watched.
    scene.kubectl.set_busy(Some("timeout=20s job "));
    let said = push("# one").fails_with(&["unable to handle the request", "release 1 serves on"]);
    assert!(said.contains("ending blog-release-0, which an interrupted deploy has left"), "{said}");
    scene.kubectl.set_busy(None);
    let jobs = |name: &String| name.starts_with("Job/");
    assert_eq!(scene.kubectl.objects().into_iter().filter(jobs).collect::<Vec<_>>(), ["Job/blog-release-1"]);
    scene.succeeds("destroy blog --confirm blog");
    assert_eq!(scene.kubectl.objects(), ["CronJob/blog-cron-tock", "Deployment/blog-mail"]);
    assert_eq!(scene.kubectl.object("CronJob/blog-cron-tock"), Some(of_app));
    assert_eq!(scene.kubectl.object("Deployment/blog-mail"), Some(of_helm));
}

#[test]
fn a_failed_change_leaves_the_cluster_as_it_was() {
    let Some(scene) = ClusterScene::new() else { return };
    let repo = blog(&scene.world);
    repo.push().succeeds();
    let before = scene.kubectl.objects();
    let is_as_before = || {
        assert_eq!(scene.ps(), ["web healthy 1", "worker running 1", "cron-tick waiting 1"]);
        assert_eq!(scene.live(), PathBuf::from("releases/1"));
        let jobs = |name: &String| !name.contains("blog-release");
        let kept = |names: Vec<String>| names.into_iter().filter(jobs).collect::<Vec<_>>();
        assert_eq!(kept(scene.kubectl.objects()), kept(before.clone()));
    };
    let change = |name: &str, line: &str| {
        let procfile = format!(
            "web: ./serve\nworker: ./work\nrelease: ./migrate\ncron-tick: * * * * * ./tick\n{line}\n"
        );
        // The last line of a name holds.
        let lines: Vec<&str> = procfile.lines().collect();
        let of = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
        let kept = lines.iter().enumerate().filter(|(at, one)| *at == lines.len() - 1 || of(one) != of(line));
        let lines: Vec<&str> = kept.map(|(_, one)| *one).collect();
        repo.file("Procfile", lines.join("\n") + "\n").commit(name);
        repo.push()
    };

    change("Two", "release: ./migrate exit 4")
        .fails_with(&["the release task has failed: exit 4", "release 1 serves on"]);
    is_as_before();
    change("Three", "web: ./serve crash").fails_with(&[
        "crashes again and again: exit 3",
        "the last lines of its log:",
        "this is web of release 3",
        "release 1 serves on",
    ]);
    is_as_before();
    change("Four", "web: ./serve never-ready")
        .fails_with(&["has not become ready in time: its health check does not succeed"]);
    is_as_before();

    // A cluster that is away.
    scene.kubectl.set_down(true);
    let said = scene.fails("config:set blog A=1");
    assert!(said.contains("kubernetes: The connection to the server 127.0.0.1:1 was refused"), "{said}");
    assert!(said.contains("hint: is the cluster up?"), "{said}");
    assert!(!said.contains("memcache.go"), "{said}");
    assert!(scene.fails("ps blog").contains("cannot tell what runs of blog: kubernetes: "));
    scene.fails("stop blog");
    scene.kubectl.set_down(false);
    is_as_before();

    // A stop that fails half way starts nothing again, nor does a change after it. It is repeated.
    scene.kubectl.set_busy(Some("scale --replicas=0"));
    let said = scene.fails("stop blog");
    assert!(said.contains("hint: to end what still runs, repeat it: piku stop blog"), "{said}");
    scene.succeeds("config:set blog A=1");
    scene.kubectl.set_busy(None);
    assert_eq!(scene.ps(), ["web healthy 1", "worker running 1", "cron-tick stopped 1"]);
    scene.succeeds("stop blog");
    assert_eq!(scene.ps(), ["web stopped 1", "worker stopped 1", "cron-tick stopped 1"]);
    scene.kubectl.set_down(true);
    let said = scene.fails("ps blog");
    assert!(
        said.contains("unknown") && said.contains("cannot tell what runs of blog: kubernetes: "),
        "{said}"
    );
    scene.kubectl.set_down(false);
    scene.succeeds("config:unset blog A");
    scene.succeeds("start blog");
    is_as_before();

    // Bad settings are refused before anything is built.
    scene.use_cluster("machines: [piku@elsewhere]");
    repo.file("page", "x").commit("Five");
    let said = repo.push().fails_with(&["names a cluster and machines"]);
    assert!(!said.contains("Packing"), "{said}");
    scene.use_cluster("patience: 0");
    repo.file("Procfile", "web: ./serve\n").commit("Six");
    repo.push().succeeds();
    assert_eq!(scene.ps().len(), 1, "types that are gone have no pods: {:?}", scene.ps());

    // A cluster that is gone keeps no app.
    scene.kubectl.set_down(true);
    let said = scene.succeeds("destroy blog --confirm blog");
    assert!(said.contains("blog may still run in lab: kubernetes: "), "{said}");
    assert!(said.contains("to remove it: kubectl --context=lab -n default delete deployments,"), "{said}");
}
