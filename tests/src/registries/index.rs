//! A package index on loopback, so that a test can publish new versions of its own packages.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::gems;
use crate::ports::free_port;
use crate::world::wait_for;

/// Builds a wheel with the files of a JSON object, which is read from stdin.
const WHEEL: &str = r#"
import json, sys, zipfile
folder, name, version = sys.argv[1:]
info = f"{name}-{version}.dist-info"
files = json.load(sys.stdin)
with zipfile.ZipFile(f"{folder}/{name}-{version}-py3-none-any.whl", "w") as wheel:
    for path, text in files.items():
        wheel.writestr(path, text)
    wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in files) + f"{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
"#;

/// A running package index, ended when dropped.
#[derive(Debug)]
pub struct Index {
    server: Child,
    dir: PathBuf,
    port: u16,
}

impl Index {
    /// Starts an empty index with its files in the new directory `dir`.
    ///
    /// # Panics
    /// Panics if python3 cannot serve it.
    #[must_use]
    pub fn start(dir: &Path) -> Self {
        fs::create_dir_all(dir.join("simple")).expect("folder of the index");
        let port = free_port();
        let server = Command::new("python3")
            .args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"])
            .arg(dir)
            .arg(port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 runs");
        let index = Self { server, dir: dir.to_owned(), port };
        wait_for("the index", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        index
    }

    /// Returns the value for `PIP_INDEX_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/simple", self.port)
    }

    /// Returns the URL for `source` in a Gemfile.
    #[must_use]
    pub fn gems_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Publishes installed gems.
    pub fn publish_gems(&self, names: &[&str]) {
        gems::pack_gems(&self.dir.join("gems"), names);
        gems::write_index(&self.dir);
    }

    /// Publishes a version of a gem whose module has a native `version`.
    pub fn publish_gem(&self, name: &str, version: &str) {
        gems::make_gem(&self.dir.join("gems"), name, version);
        gems::write_index(&self.dir);
    }

    /// Publishes a version of a package whose module has a `VERSION`. The name is one word.
    ///
    /// # Panics
    /// Panics if it cannot be made.
    pub fn publish(&self, name: &str, version: &str) {
        self.publish_files(name, version, &[(&format!("{name}.py"), &format!("VERSION = {version:?}\n"))]);
    }

    /// Publishes a version of a package with these files, by their paths in `site-packages`.
    ///
    /// # Panics
    /// Panics if it cannot be made.
    pub fn publish_files(&self, name: &str, version: &str, files: &[(&str, &str)]) {
        let folder = self.dir.join("simple").join(name);
        fs::create_dir_all(&folder).expect("folder of the package");
        let mut made = Command::new("python3")
            .args(["-c", WHEEL])
            .arg(&folder)
            .args([name, version])
            .stdin(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let files: serde_json::Map<_, _> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).into())).collect();
        serde_json::to_writer(made.stdin.take().expect("a pipe"), &files).expect("the files");
        assert!(made.wait().expect("python3 ends").success());
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
