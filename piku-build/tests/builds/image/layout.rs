//! The archive of an image, and its bases.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use piku_tests::snapshot::str;

use super::{Image, pack, site};

#[test]
fn a_redeploy_changes_one_layer() {
    let world = site();
    world.build("1").good(&[]);
    fs::write(world.path("out/1/config.json"), "{\"SECRET\": \"not for an image\"}").expect("a file");
    let bytes = pack(&world, "1", &["--base", "base"]);
    assert!(!bytes.windows(16).any(|part| part == b"not for an image"));
    // The umask of a build and who made it do not count.
    let run = world.path("out/1/app/run.sh");
    fs::set_permissions(&run, fs::Permissions::from_mode(0o600)).expect("a mode");
    assert!(bytes == pack(&world, "1", &["--base", "base"]), "the same release gives other bytes");

    let image = Image::read(&bytes);
    let (config, layers) = image.parts();
    assert_eq!(config["rootfs"]["diff_ids"], json!(layers));
    assert_eq!((layers.len(), &config["os"]), (3, &json!("linux")));
    let run = &config["config"];
    assert_eq!(run["Entrypoint"], json!(["/usr/lib/piku/start"]));
    assert_eq!((&run["Cmd"], &run["User"]), (&json!(["worker"]), &json!("1000:1000")));
    assert_eq!(run["Labels"]["org.opencontainers.image.title"], "app");
    let env = run["Env"].as_array().expect("variables");
    for line in ["COLOUR=blue", "PORT=8080", "HOME=/data/home", "PIKU_RELEASE=1"] {
        assert!(env.contains(&json!(line)), "{line} in {env:?}");
    }
    assert_eq!(image.json("manifest.json")[0]["RepoTags"], json!(["app:1"]));
    let names = &image.json("index.json")["manifests"][0]["annotations"];
    assert_eq!(names["io.containerd.image.name"], "localhost/app:1");
    assert_eq!(image.list(&layers[0]), ["bin 755 0", "bin/sh 755 0", "dev 755 0", "etc 755 0", "tmp 1777 0"]);
    let app = image.list(&layers[1]);
    for line in [
        "data/home 755 1000",
        "usr/lib/piku/start 755 0",
        "usr/lib/piku/processes/worker 644 0",
        "usr/lib/piku/processes/cron-tick 644 0",
        "app/run.sh 644 1000",
    ] {
        assert!(app.iter().any(|found| found == line), "{line} in {app:?}");
    }
    let folders = ["usr 755 0", "usr/lib 755 0", "usr/lib/piku 755 0"];
    assert_eq!(image.list(&layers[2]), [&folders[..], &["usr/lib/piku/sbom.cdx.json 644 0"]].concat());

    world.write("run.sh", "echo changed\n");
    world.build_with("2", &["--number", "2"]).good(&[]);
    let (_, later) = Image::read(&pack(&world, "2", &["--base", "base"])).parts();
    assert_eq!((later.len(), &later[0]), (3, &layers[0]));
    assert_ne!(later[1], layers[1]);
}

#[test]
fn bases_are_directories_archives_and_images() {
    let world = site();
    world.build("1").good(&[]);
    let first = pack(&world, "1", &["--base", "base", "--tag", "r.example.org:5000/team/app:v1"]);
    let (_, layers) = Image::read(&first).parts();
    let tar = |args: &[&str]| {
        let status = std::process::Command::new("tar").args(args).current_dir(world.path(".")).status();
        assert!(status.expect("tar runs").success());
    };
    // The files of a base: dates are those of the files, so the digest is that of the directory.
    tar(&["-C", "base", "--sort=name", "-cf", "base.tar", "."]);
    let (_, from_archive) = Image::read(&pack(&world, "1", &["--base", "base.tar"])).parts();
    assert_eq!(from_archive[0], layers[0]);

    // An image: its layers are used as they are, and its variables where the app has none.
    fs::write(world.path("image.tar"), &first).expect("a file");
    let image = Image::read(&pack(&world, "1", &["--base", "image.tar"]));
    let (config, on_image) = image.parts();
    assert_eq!((on_image.len(), &on_image[..3]), (5, layers.as_slice()));
    assert_eq!(config["rootfs"]["diff_ids"], json!(on_image));

    // The same in Docker's form alone, with compressed layers.
    let docker = world.path("docker");
    fs::create_dir(&docker).expect("a folder");
    tar(&["-C", "docker", "-xf", "image.tar"]);
    fs::remove_file(docker.join("index.json")).expect("a layout");
    tar(&["-C", "docker", "-cf", "docker.tar", "."]);
    let (_, on_docker) = Image::read(&pack(&world, "1", &["--base", "docker.tar"])).parts();
    assert_eq!(on_docker, on_image);
}

/// Returns the layout of an image with other layers of the same config.
fn replace_layers(image: &Image, change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, text: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, name, text).expect("an entry");
    };
    let blob = |add: &mut dyn FnMut(&str, &[u8]), text: &[u8]| {
        let digest = piku_files::sha256::to_hex(&Sha256::digest(text));
        add(&format!("blobs/sha256/{digest}"), text);
        json!({ "digest": format!("sha256:{digest}"), "size": text.len() })
    };
    let entry = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().expect("a digest");
        &image.0[&digest.replace("sha256:", "blobs/sha256/")]
    };
    let mut manifest = image.follow(&image.json("index.json")["manifests"][0]);
    manifest["config"] = blob(&mut add, entry(&manifest["config"]));
    for layer in manifest["layers"].as_array_mut().expect("layers") {
        *layer = blob(&mut add, &change(entry(layer)));
    }
    let index = json!({ "manifests": [blob(&mut add, &serde_json::to_vec(&manifest).expect("JSON"))] });
    add("index.json", &serde_json::to_vec(&index).expect("JSON"));
    tar.into_inner().expect("an archive")
}

#[test]
fn layers_are_what_the_config_says() {
    let world = site();
    world.build("1").good(&[]);
    let first = Image::read(&pack(&world, "1", &["--base", "base"]));
    let (_, layers) = first.parts();
    let mut bytes = replace_layers(&first, |layer| zstd::encode_all(layer, 1).expect("zstd"));
    fs::write(world.path("zstd.tar"), &bytes).expect("a file");
    let (config, on_image) = Image::read(&pack(&world, "1", &["--base", "zstd.tar"])).parts();
    assert_eq!((on_image.len(), &on_image[..3]), (5, layers.as_slice()));
    assert_eq!(config["rootfs"]["diff_ids"], json!(on_image));

    let gzip = |layer: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(layer).expect("gzip");
        encoder.finish().expect("gzip")
    };
    fs::write(world.path("gzip.tar"), replace_layers(&first, gzip)).expect("a file");
    pack(&world, "1", &["--base", "gzip.tar"]);

    // Those with other content are refused.
    let zstd = [0x28, 0xb5, 0x2f, 0xfd];
    let at = bytes.windows(4).position(|part| part == zstd).expect("a layer");
    bytes[at + 8] ^= 0xff;
    fs::write(world.path("damaged.tar"), &bytes).expect("a file");
    let longer = |layer: &[u8]| [layer, &[0; 512]].concat();
    fs::write(world.path("plain.tar"), replace_layers(&first, longer)).expect("a file");
    let compressed = replace_layers(&first, |layer| gzip(&longer(layer)));
    fs::write(world.path("other.tar"), compressed).expect("a file");
    for base in ["damaged.tar", "plain.tar", "other.tar"] {
        let ran = world.run(&["pack", "--format", "oci", "out/1", "--base", base]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
        ran.said(&[&format!("cannot use the image '{base}': "), "layer 'blobs/sha256/"]);
    }
}

#[test]
fn one_image_has_releases_for_several_architectures() {
    let world = site();
    world.build("1").good(&[]);
    world.build("2").good(&[]);
    let manifest = world.path("out/2/release.yaml");
    let text = fs::read_to_string(&manifest).expect("a release");
    assert!(text.contains("architecture: any\n"));
    fs::write(&manifest, text.replace("architecture: any\n", "architecture: armv7l\n")).expect("a file");
    let bytes = pack(&world, "1", &["out/2", "--base", "base"]);
    let image = Image::read(&bytes);
    let list = image.follow(&image.json("index.json")["manifests"][0]);
    let platforms: Vec<_> =
        list["manifests"].as_array().expect("manifests").iter().map(|one| one["platform"].clone()).collect();
    assert_eq!(platforms[1], json!({ "architecture": "arm", "os": "linux", "variant": "v7" }));
    assert_eq!(platforms.len(), 2);
    for reference in list["manifests"].as_array().expect("manifests") {
        image.follow(&image.follow(reference)["config"]);
    }
    assert!(!image.0.contains_key("manifest.json"), "Docker's form has no platforms");
    // One release that runs on any is one image for each architecture, and its layers are in the archive once.
    let one = |asked: &str| Image::read(&pack(&world, "1", &["--base", "base", "--architecture", asked]));
    let three = one("arm64,armhf,armv6l");
    let list = three.follow(&three.json("index.json")["manifests"][0]);
    let platforms = list["manifests"].as_array().expect("manifests").iter().map(|one| &one["platform"]);
    let names: Vec<_> = platforms.map(|one| format!("{} {}", one["architecture"], one["variant"])).collect();
    assert_eq!(names, ["\"arm64\" null", "\"arm\" \"v7\"", "\"arm\" \"v6\""]);
    assert_eq!(three.0.len(), one("arm64").0.len() - 1 + 5, "manifest and config of two more, and an index");
    // What the release has is one layer for all, though the packages of their bases differ.
    let [arm64, armhf] = ["arm64", "armhf"].map(|name| {
        let status =
            format!("Package: dash\nStatus: install ok installed\nVersion: 0.5\nArchitecture: {name}\n");
        fs::create_dir_all(world.path("base/var/lib/dpkg")).expect("a folder");
        fs::write(world.path("base/var/lib/dpkg/status"), status).expect("a file");
        let image = one(name);
        let (_, layers) = image.parts();
        let components = &image.0[&layers[2].replace("sha256:", "blobs/sha256/")];
        assert!(String::from_utf8_lossy(components).contains(&format!("?arch={name}")), "{name}");
        layers
    });
    assert_eq!(arm64[1], armhf[1]);
    assert!(arm64[0] != armhf[0] && arm64[2] != armhf[2]);
    // Each architecture gets the release that was built for it.
    let mixed = pack(&world, "1", &["out/2", "--base", "base", "--architecture", "armhf,arm64"]);
    assert!(mixed == pack(&world, "2", &["out/1", "--base", "base", "--architecture", "armhf,arm64"]));
    let args = ["pack", "--format", "oci", "--layers", "cache/layers", "--base", "base", "out/1", "out/2"];
    world.run(&[&args[..], &["--architecture", "arm64"]].concat()).fails(str![[r#"
piku-build: 'out/2' is for none of the architectures that are asked for, or another release is
hint: leave it out, or name its architecture, too

"#]]);
    world.run(&[&args[..7], &["out/2", "out/2", "--architecture", "arm64,armhf"]].concat()).fails(str![[
        r#"
piku-build: none of the releases runs on aarch64
hint: build one for it: piku-build build --architecture aarch64

"#
    ]]);
    // The same platform twice is no image.
    let args = ["pack", "--format", "oci", "out/1", "out/1", "--layers", "cache/layers", "--base", "base"];
    world.run(&args).said(&["two of the releases are for linux/"]);
}
