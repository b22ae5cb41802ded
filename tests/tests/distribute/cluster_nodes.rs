//! A cluster whose nodes have several architectures: its images are for all of them, and its pods run on these nodes
//! only.

use std::process::Command;

use piku_tests::elf;
use serde_json::Value;

use super::cluster::{ClusterScene, blog};

/// Specification of the pods of `web`.
fn pods(scene: &ClusterScene) -> Value {
    let web = scene.kubectl.object("Deployment/blog-web").expect("a deployment");
    web["spec"]["template"]["spec"].clone()
}

/// Returns the architectures of the nodes on which the pods of `web` run.
fn nodes(scene: &ClusterScene) -> Value {
    let path = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0\
                /matchExpressions/0/values";
    pods(scene).pointer(path).expect("nodes").clone()
}

/// Returns the manifest or the index of the image of `web`, as the registry has it.
fn manifest(scene: &ClusterScene) -> Value {
    let image = pods(scene)["containers"][0]["image"].as_str().expect("an image").to_owned();
    let (name, digest) = image.split_once('@').expect("a digest");
    let name = name.rsplit_once(':').expect("a tag").0;
    let shown = Command::new("skopeo")
        .args(["inspect", "--tls-verify=false", "--raw", &format!("docker://{name}@{digest}")])
        .output()
        .expect("skopeo runs");
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    serde_json::from_slice(&shown.stdout).expect("a manifest")
}

#[test]
fn a_site_without_a_process_is_refused_before_the_build() {
    let Some(scene) = ClusterScene::new() else { return };
    let repo = scene.world.repo("blog");
    repo.file("index.html", "hello").commit("Files alone");
    let said = repo
        .push()
        .fails_with(&["it has static files alone: no pod would serve them", "'web' in the Procfile"]);
    assert!(!said.contains("Packing the image"), "{said}");
    assert!(scene.world.releases("blog").is_empty());
}

#[test]
fn nodes_of_several_architectures_get_one_image_each() {
    let Some(scene) = ClusterScene::new() else { return };
    scene.use_nodes("[x86_64, aarch64]");
    let repo = blog(&scene.world);
    repo.push().succeeds();
    let manifests = manifest(&scene)["manifests"].clone();
    let platforms: Vec<&Value> =
        manifests.as_array().expect("an index").iter().map(|one| &one["platform"]["architecture"]).collect();
    assert_eq!(platforms, ["amd64", "arm64"]);
    assert_eq!(nodes(&scene), serde_json::json!(["amd64", "arm64"]));
    let job = scene.kubectl.object("CronJob/blog-cron-tick").expect("a job").to_string();
    assert!(job.contains("kubernetes.io/arch"), "{job}");
    // The same nodes have the image.
    let said = scene.succeeds("config:set blog A=1");
    assert!(!said.contains("Packing"), "{said}");
    // Others do not.
    scene.use_nodes("aarch64");
    let said = scene.succeeds("config:set blog A=2");
    assert!(said.contains("Packing"), "{said}");
    assert_eq!(manifest(&scene)["manifests"], Value::Null);
    assert_eq!(nodes(&scene), serde_json::json!(["arm64"]));

    // A program for one of them.
    scene.use_nodes("[armv7l, x86_64]");
    repo.file("tool", elf::arm_program(&[])).commit("Two");
    let said = repo.push().fails_with(&[
        "this release needs armv7l for 'app/tool', nodes of the cluster are also x86_64",
        "name the architecture of one kind of nodes",
    ]);
    assert!(!said.contains("Packing"), "{said}");
    assert_eq!(nodes(&scene), serde_json::json!(["arm64"]), "nothing was changed");
    scene.use_nodes("armv7l");
    repo.file("page", "x").commit("Three");
    repo.push().succeeds();
    assert_eq!(nodes(&scene), serde_json::json!(["arm"]));
}
