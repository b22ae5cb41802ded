//! A registry on loopback, and a double of kubectl with a cluster of files.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::ports::free_port;
use crate::skip;
use crate::world::{World, wait_for};

/// A registry of images, ended when it is dropped.
pub struct RegistryServer {
    process: Child,
    port: u16,
}

impl RegistryServer {
    /// Starts Debian's docker-registry with its files below `dir`; `None`, with a message, if it or skopeo is
    /// missing.
    pub fn start(dir: &Path) -> Option<Self> {
        let has = |program: &str| {
            Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok_and(|it| it.success())
        };
        if !has("docker-registry") || !has("skopeo") {
            skip("images in a registry: docker-registry or skopeo is missing");
            return None;
        }
        let port = free_port();
        let config = dir.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\n",
            dir.join("registry").display()
        );
        fs::write(&config, text).expect("registry.yml");
        let log = fs::File::create(dir.join("registry.log")).expect("registry.log");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).stdin(Stdio::null());
        let process =
            command.stdout(log.try_clone().expect("log")).stderr(log).spawn().expect("docker-registry");
        let registry = Self { process, port };
        wait_for("the registry", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(registry)
    }

    /// Returns its address, as it is written in the names of images.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the base of images of a world, which has a shell without content: its images never run.
#[must_use]
pub fn empty_base(world: &World) -> PathBuf {
    let base = world.path("base");
    fs::create_dir_all(base.join("bin")).expect("a base");
    fs::write(base.join("bin/sh"), "").expect("a program");
    base
}

/// The double of kubectl in a world, with its cluster.
pub struct KubectlDouble {
    dir: PathBuf,
}

impl KubectlDouble {
    /// Installs the double where the server's account may run it.
    #[must_use]
    pub fn install(world: &World) -> Self {
        let dir = world.path("home/kubectl-double");
        let made = world.command("mkdir").arg("-p").arg(dir.join("cluster")).status();
        assert!(made.expect("mkdir").success());
        // By a process of its own, as the tools are copied.
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cluster/kubectl-double");
        let copied = Command::new("install").args(["-m", "755"]).arg(from).arg(dir.join("kubectl")).status();
        assert!(copied.expect("install").success());
        Self { dir }
    }

    /// Returns the path of the program.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.dir.join("kubectl")
    }

    /// Makes the cluster unreachable, or reachable again.
    pub fn set_down(&self, is_down: bool) {
        let mark = self.dir.join("cluster/down");
        if is_down { fs::write(mark, "") } else { fs::remove_file(mark) }.expect("the mark");
    }

    /// Gives the API server another address.
    pub fn set_server(&self, address: &str) {
        fs::write(self.dir.join("cluster/server"), address).expect("the address");
    }

    /// Makes commands fail whose command line has this part; none if it is `None`.
    pub fn set_busy(&self, part: Option<&str>) {
        let mark = self.dir.join("cluster/busy");
        part.map_or_else(|| fs::remove_file(&mark), |part| fs::write(&mark, part)).expect("the mark");
    }

    /// Makes commands get no answer whose command line has this part; none if it is `None`.
    pub fn set_hanging(&self, part: Option<&str>) {
        let mark = self.dir.join("cluster/hanging");
        part.map_or_else(|| fs::remove_file(&mark), |part| fs::write(&mark, part)).expect("the mark");
    }

    /// Gives the cluster the metrics API, by which each pod has these containers.
    pub fn set_metrics(&self, containers: &serde_json::Value) {
        fs::write(self.dir.join("cluster/metrics"), containers.to_string()).expect("the metrics");
    }

    /// Puts an object into the cluster that the app's deploys have not made.
    pub fn put(&self, object: &serde_json::Value) {
        let path = self.dir.join("cluster/objects.json");
        let text = fs::read_to_string(&path).expect("the objects");
        let mut objects: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&text).expect("objects");
        let word = |value: &serde_json::Value| value.as_str().expect("a word").to_owned();
        objects.insert(
            format!("{}/{}", word(&object["kind"]), word(&object["metadata"]["name"])),
            object.clone(),
        );
        // In place: the file is the account's.
        fs::write(&path, serde_json::Value::Object(objects).to_string()).expect("the objects");
    }

    /// Returns how many programs follow logs.
    #[must_use]
    pub fn followers(&self) -> usize {
        let program = self.program().into_os_string().into_string().expect("a path");
        let lines = fs::read_dir("/proc").expect("/proc").flatten();
        let lines = lines.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
        lines.filter(|line| line.contains(&program) && line.contains("--follow")).count()
    }

    /// Returns an object of the cluster.
    #[must_use]
    pub fn object(&self, name: &str) -> Option<serde_json::Value> {
        let text = fs::read_to_string(self.dir.join("cluster/objects.json")).ok()?;
        let objects: serde_json::Value = serde_json::from_str(&text).expect("objects");
        objects.get(name).cloned()
    }

    /// Returns the names of the objects in the cluster, `KIND/NAME`, without hashes and events.
    #[must_use]
    pub fn objects(&self) -> Vec<String> {
        let text =
            fs::read_to_string(self.dir.join("cluster/objects.json")).unwrap_or_else(|_| "{}".to_owned());
        let objects: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&text).expect("objects");
        let mut names: Vec<String> =
            objects.into_iter().map(|(name, _)| name).filter(|name| !name.starts_with("Event/")).collect();
        names.sort();
        names
    }
}
