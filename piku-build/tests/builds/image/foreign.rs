//! An image for a machine of another architecture, none of whose programs run here.

use std::io::Read;

use piku_tests::skip;
use serde_json::json;

use super::{Image, has, pack};
use crate::support::{World, has_jail, shared_cache};

#[test]
fn an_image_for_another_architecture_is_made_without_its_programs() {
    if !has("mmdebstrap") || !nix::unistd::geteuid().is_root() || !has_jail() {
        return skip("images for other architectures: they need mmdebstrap, root and a jail");
    }
    let (name, triplet, machine) = match piku_release::machine::architecture().expect("a name").as_str() {
        "aarch64" => ("amd64", "x86_64-linux-gnu", 62),
        _ => ("arm64", "aarch64-linux-gnu", 183),
    };
    // Its base has the packages of the other test's, so that one is made for both.
    let mut world = World::new(&[
        ("app.py", "print(1)\n"),
        ("requirements.txt", "bottle\n"),
        ("Procfile", "web: python app.py\n"),
    ])
    .sharing_caches();
    world.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    world.build("1").good(&[]);
    let bases = shared_cache().join("bases");
    let bases = bases.to_str().expect("UTF-8");
    let image = Image::read(&pack(&world, "1", &["--bases", bases, "--architecture", name]));
    let (config, layers) = image.parts();
    assert_eq!(config["architecture"], json!(name));
    let base = &image.0[&layers[0].replace("sha256:", "blobs/sha256/")];
    let (mut programs, mut accounts, mut certificates, mut packages) = (0, false, false, String::new());
    for entry in tar::Archive::new(base.as_slice()).entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("content");
        if content.starts_with(b"\x7fELF") {
            assert_eq!(u16::from_le_bytes([content[18], content[19]]), machine, "{path}");
            programs += 1;
        }
        accounts |= path == "etc/passwd" && content.ends_with(b"app:x:1000:1000::/data/home:/bin/sh\n");
        certificates |= path == "etc/ssl/certs/ca-certificates.crt" && content.starts_with(b"-----BEGIN");
        if path == "var/lib/dpkg/status" {
            packages = String::from_utf8(content).expect("text");
        }
    }
    assert!(programs > 100 && accounts && certificates, "{programs} {accounts} {certificates}");
    let listed = image.list(&layers[0]);
    for path in [&format!("usr/lib/{triplet}/libc.so.6"), "etc/alternatives/awk", "usr/bin/awk"] {
        assert!(listed.iter().any(|line| line.split(' ').next() == Some(path)), "{path}");
    }
    assert!(packages.contains(&format!("Architecture: {name}\n")));
    let text =
        String::from_utf8_lossy(&image.0[&layers[layers.len() - 1].replace("sha256:", "blobs/sha256/")]);
    assert!(
        text.contains(&format!("?arch={name}")) && text.contains("pkg:pypi/bottle@"),
        "bill of materials"
    );
}
