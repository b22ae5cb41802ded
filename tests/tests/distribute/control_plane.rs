//! An app in a real control plane, by the user and the role that docs/kubernetes.md proposes. Nodes may be simulated:
//! no container has to run.
//!
//! `PIKU_TEST_KUBECONFIG` names the kubeconfig of an administrator. The test makes a namespace, and removes it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use piku_tests::cluster::{RegistryServer, empty_base};
use piku_tests::repo::Repo;
use piku_tests::tools::repository;
use piku_tests::world::{World, wait_long};
use serde_json::Value;

/// The administrator's access to the cluster, and a namespace of this test.
pub(super) struct TestNamespace {
    kubeconfig: PathBuf,
    pub(super) name: String,
}

impl TestNamespace {
    /// Makes the namespace with the role in the document, for the service account `piku`.
    pub(super) fn create() -> Self {
        let kubeconfig =
            std::env::var_os("PIKU_TEST_KUBECONFIG").expect("PIKU_TEST_KUBECONFIG names a kubeconfig");
        let namespace =
            Self { kubeconfig: kubeconfig.into(), name: format!("piku-test-{}", std::process::id()) };
        namespace.kubectl(&["create", "namespace", &namespace.name]);
        namespace.kubectl(&["create", "serviceaccount", "piku"]);
        let document = fs::read_to_string(repository().join("docs/kubernetes.md")).expect("the document");
        let role = document.split("```").find(|block| block.contains("kind: Role")).expect("the role");
        namespace.apply(&role.replace("namespace: shop", &format!("namespace: {}", namespace.name)));
        let account = format!("--serviceaccount={}:piku", namespace.name);
        namespace.kubectl(&["create", "rolebinding", "piku", "--role=piku", &account]);
        namespace
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg(format!("--namespace={}", self.name))
            .args(args);
        command
    }

    pub(super) fn kubectl(&self, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command(args).output().expect("kubectl runs");
        assert!(status.success(), "{args:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).expect("text")
    }

    pub(super) fn apply(&self, yaml: &str) {
        let mut kubectl =
            self.command(&["apply", "-f", "-"]).stdin(Stdio::piped()).spawn().expect("kubectl runs");
        kubectl.stdin.take().expect("a pipe").write_all(yaml.as_bytes()).expect("the objects");
        assert!(kubectl.wait().expect("kubectl").success(), "{yaml}");
    }

    /// Returns a kubeconfig whose context `test` is that of the service account.
    fn account_config(&self) -> String {
        let raw = self.kubectl(&["config", "view", "--raw", "--minify", "--flatten", "--output=json"]);
        let mut config: Value = serde_json::from_str(&raw).expect("a kubeconfig");
        let token = self.kubectl(&["create", "token", "piku", "--duration=1h"]);
        let cluster = config["clusters"][0]["name"].clone();
        config["users"] = serde_json::json!([{ "name": "piku", "user": { "token": token.trim() } }]);
        config["contexts"] =
            serde_json::json!([{ "name": "test", "context": { "cluster": cluster, "user": "piku" } }]);
        config["current-context"] = Value::from("test");
        config.to_string()
    }

    /// Returns the names of all objects that piku makes, `kind/name`.
    pub(super) fn objects(&self) -> Vec<String> {
        let kinds =
            "deployments,cronjobs,jobs,pods,services,ingresses,poddisruptionbudgets,secrets,configmaps";
        let names = self.kubectl(&["get", kinds, "-l", "app.kubernetes.io/managed-by=piku", "-o", "name"]);
        names.lines().map(str::to_owned).collect()
    }

    /// Gives piku's user in a world the kubeconfig of the account. Returns its path.
    pub(super) fn give_account(&self, world: &World) -> PathBuf {
        let kubeconfig = world.path("home/kubeconfig");
        fs::write(world.path("kubeconfig"), self.account_config()).expect("a kubeconfig");
        let account = format!("--owner={}", world.user());
        let mut install = Command::new("install");
        install.args(["-m", "600", &account]).args([&world.path("kubeconfig"), &kubeconfig]);
        assert!(install.status().expect("install").success());
        kubeconfig
    }

    /// Returns a part of an object, by a path of JSON.
    pub(super) fn field(&self, object: &str, path: &str) -> String {
        self.kubectl(&["get", object, &format!("--output=jsonpath={{{path}}}")])
    }
}

impl Drop for TestNamespace {
    fn drop(&mut self) {
        let _ = self.command(&["delete", "namespace", &self.name, "--wait=false"]).output();
    }
}

struct ControlPlaneScene {
    world: World,
    registry: RegistryServer,
    namespace: TestNamespace,
    kubeconfig: PathBuf,
}

impl ControlPlaneScene {
    fn new() -> Option<Self> {
        let world = World::new();
        let registry = RegistryServer::start(&world.path(""))?;
        let namespace = TestNamespace::create();
        let kubeconfig = namespace.give_account(&world);
        let scene = Self { world, registry, namespace, kubeconfig };
        scene.use_cluster(&["blog", "blog-mail"]);
        Some(scene)
    }

    /// Writes `deploy_to` with these apps in the cluster.
    fn use_cluster(&self, apps: &[&str]) {
        let base = empty_base(&self.world);
        let of_app = |app: &&str| {
            format!(
                "  {app}:\n    kubernetes:\n      {{context: test, namespace: {}, kubeconfig: '{}', registry: '{}/apps', \
                 registry_tls: false, base: '{}', architecture: [x86_64, aarch64]}}\n    patience: 5\n",
                self.namespace.name,
                self.kubeconfig.display(),
                self.registry.address(),
                base.display()
            )
        };
        let apps: String = apps.iter().map(of_app).collect();
        let text = format!("build_timeout: 20\ndeploy_to:\n{apps}");
        self.world.set_settings(&text);
    }

    fn succeeds_as(&self, key: &str, words: &str) -> String {
        let Output { status, stdout, stderr } = self.world.ssh(key, words);
        let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
        assert!(status.success(), "{words}: {said}");
        said
    }

    fn succeeds(&self, words: &str) -> String {
        self.succeeds_as("laptop", words)
    }

    fn fails(&self, words: &str, texts: &[&str]) {
        let Output { status, stdout, stderr } = self.world.ssh("laptop", words);
        let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
        assert!(!status.success(), "{words}: {said}");
        assert!(texts.iter().all(|text| said.contains(text)), "{words}: {said}");
    }

    /// Returns the type, the state and the release of each instance.
    fn ps(&self, app: &str) -> Vec<String> {
        let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let rows = self.world.ps(app);
        let mut rows: Vec<String> = rows
            .iter()
            .map(|row| ["type", "state", "release"].map(|name| word(&row[name])).join(" "))
            .collect();
        // Pods that end may be seen for a while.
        rows.retain(|row| !row.contains(" draining "));
        rows
    }

    fn live(&self) -> PathBuf {
        fs::read_link(self.world.app("blog").join("current")).expect("a live release")
    }
}

const PROCFILE: &str = "web: ./serve\nworker: ./work\nrelease: ./migrate\ncron-tick: 0 3 1 1 * ./tick\n";

fn app(world: &World, name: &str, procfile: &str) -> Repo {
    let repo = world.repo(name);
    repo.file("Procfile", procfile)
        .file("ENV", "NGINX_SERVER_NAME=blog.example.org\nHEALTHCHECK_UPTIME=1.5\n");
    for program in ["serve", "work", "migrate", "tick"] {
        repo.program(program, "#!/bin/sh\nexec sleep 1000\n");
    }
    repo.commit("One");
    repo
}

#[test]
#[ignore = "needs a cluster: PIKU_TEST_KUBECONFIG, the kubeconfig of its administrator"]
fn every_verb_works_against_a_real_control_plane() {
    let Some(scene) = ControlPlaneScene::new() else { return };
    let (world, cluster) = (&scene.world, &scene.namespace);
    let repo = app(world, "blog", PROCFILE);
    let said = repo.push().succeeds();
    assert!(
        said.contains("Running the release task")
            && said.contains("blog is live, release 1: http://blog.example.org"),
        "{said}"
    );
    assert_eq!(scene.ps("blog"), ["web healthy 1", "worker running 1", "cron-tick waiting 1"]);
    assert_eq!(cluster.field("deployment/blog-worker", ".spec.minReadySeconds"), "2");
    assert_eq!(cluster.field("ingress/blog", ".spec.rules[0].host"), "blog.example.org");

    let apps = scene.succeeds("apps blog --format json");
    assert!(apps.contains("\"http://blog.example.org\""), "{apps}");

    scene.succeeds("config:set blog GREETING=moin");
    scene.succeeds("ps:scale blog web=3 worker=0 cron-tick=0");
    assert_eq!(scene.ps("blog"), ["web healthy 2"; 3]);
    assert_eq!(cluster.field("pdb/blog-web", ".spec.maxUnavailable"), "1");
    scene.succeeds("ps:scale blog web=1 worker=1 cron-tick=1");
    let before = cluster.field("pods", ".items[*].metadata.name");
    scene.succeeds("restart blog");
    let after = cluster.field("pods", ".items[*].metadata.name");
    assert!(!before.split(' ').any(|pod| pod.contains("-web-") && after.contains(pod)), "{before}; {after}");
    scene.succeeds("restart blog cron-tick");
    scene.succeeds("stop blog");
    assert_eq!(scene.ps("blog"), ["web stopped 2", "worker stopped 2", "cron-tick stopped 2"]);
    wait_long("the ends of the pods", || {
        !cluster.objects().iter().any(|name| name.starts_with("pod/blog-w") || name.starts_with("cronjob"))
    });
    scene.succeeds("start blog");
    scene.succeeds("rollback blog 1");
    assert_eq!(scene.ps("blog"), ["web healthy 3", "worker running 3", "cron-tick waiting 3"]);

    failures_leave_the_live_release(&scene, &repo);

    // Two apps whose objects would have the same names.
    let other = app(world, "blog-mail", "web: ./serve\n");
    other.push().succeeds();
    repo.file("Procfile", format!("{PROCFILE}mail-web: ./work\n")).commit("Same name");
    repo.push().fails_with(&["Deployment blog-mail-web in the cluster belongs to the app blog-mail"]);
    scene.fails("rename blog diary", &["under this name", "piku clone blog diary"]);
    world.add_key("blogger", &["blog"]);
    assert!(scene.succeeds_as("blogger", "ps blog").contains("healthy"));
    let refused = world.ssh("blogger", "ps blog-mail");
    assert!(!refused.status.success(), "{refused:?}");

    // Away from the cluster, and back.
    scene.use_cluster(&["blog-mail"]);
    scene.succeeds("ps:scale blog web=0");
    scene.succeeds("restart blog");
    assert!(scene.ps("blog").contains(&"worker running 3".to_owned()), "{:?}", scene.ps("blog"));
    let of_blog = || {
        let names = cluster.kubectl(&[
            "get",
            "deployments,services,ingresses,configmaps",
            "-o",
            "name",
            "-l",
            "app.kubernetes.io/instance=blog",
        ]);
        names.lines().count()
    };
    assert_eq!(of_blog(), 0, "nothing of it is left");
    scene.use_cluster(&["blog", "blog-mail"]);
    scene.succeeds("restart blog");
    assert!(of_blog() > 0, "it is there again");

    scene.succeeds("destroy blog --confirm blog");
    assert_eq!(scene.ps("blog-mail"), ["web healthy 1"]);
    scene.succeeds("destroy blog-mail --confirm blog-mail");
    wait_long("the ends of all objects", || cluster.objects().is_empty());
}

/// Pushes releases that cannot come up: none changes what runs.
fn failures_leave_the_live_release(scene: &ControlPlaneScene, repo: &Repo) {
    for (setting, texts) in [
        (
            "RELEASE_MEMORY_LIMIT=4000g",
            ["the release task has failed: it takes too long", "release 3 serves on"],
        ),
        (
            "WEB_MEMORY_LIMIT=4000g\nHEALTHCHECK_START_PERIOD=1",
            ["no node can run it: ", "release 3 serves on"],
        ),
    ] {
        repo.file("ENV", format!("{setting}\n")).commit(setting);
        repo.push().fails_with(&texts);
        assert_eq!(scene.live(), Path::new("releases/3"));
        assert_eq!(scene.ps("blog"), ["web healthy 3", "worker running 3", "cron-tick waiting 3"]);
    }
}
