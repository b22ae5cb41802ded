//! Paths of the host that an operator grants: devices, sockets, directories, and the groups that they ask
//! for.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;

use nix::unistd::geteuid;

use crate::scene::{Scene, run, users};
use crate::uid_range::scene::Two;

fn pair(src: &std::path::Path, dst: &str) -> String {
    format!("{}:{dst}", src.display())
}

#[test]
fn exactly_what_is_granted() {
    for user in users() {
        let scene = Scene::new(user);
        let (shared, media) = (scene.folder("shared"), scene.folder("media"));
        fs::write(media.join("song"), "la").unwrap();
        let listener = UnixListener::bind(shared.join("server.sock")).unwrap();
        fs::set_permissions(shared.join("server.sock"), Permissions::from_mode(0o666)).unwrap();
        let server = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            client.write_all(b"hello\n").unwrap();
            let mut said = String::new();
            client.read_to_string(&mut said).unwrap();
            said
        });
        let script = "cat /srv/media/song; touch /srv/shared/mine; ls /srv /srv/shared
            touch /srv/media/x 2>/dev/null || echo read-only
            python3 -c 'import socket; s=socket.socket(socket.AF_UNIX); s.connect(\"/srv/shared/server.sock\"); print(s.recv(9).decode(), end=\"\"); s.send(b\"hi\")'
            head -c 1 /dev/here/zero | wc -c; head -c 1 /srv/zero 2>/dev/null || echo no device; ls /dev/here";
        let zero = std::path::Path::new("/dev/zero");
        let mut command = scene.jail(&["--root-from-host", "--grant", &pair(&shared, "/srv/shared")]);
        command.args([
            "--grant-ro",
            &pair(&media, "/srv/media"),
            "--grant-device",
            &pair(zero, "/dev/here/zero"),
        ]);
        // A device that is granted as a file does not work.
        command.args(["--grant", &pair(zero, "/srv/zero"), "--", "sh", "-c", script]);
        let outcome = run(&mut command);
        let expected = "lamedia\nshared\nzero\n\n/srv/shared:\nmine\nserver.sock\nread-only\nhello\n1\nno device\nzero\n";
        let seen = outcome.out.replace("/srv:\n", "");
        assert_eq!((outcome.code, seen.as_str()), (Some(0), expected), "{}", outcome.err);
        assert_eq!(server.join().unwrap(), "hi");
    }
}

#[test]
fn no_symlink_leads_to_another_path() {
    for user in users() {
        let scene = Scene::new(user);
        let secret = scene.folder("secret");
        let shared = scene.folder("shared");
        fs::create_dir(secret.join("sub")).unwrap();
        symlink(&secret, shared.join("link")).unwrap();
        for path in [shared.join("link"), shared.join("link/sub"), shared.join("none")] {
            for option in ["--grant", "--grant-ro", "--grant-device"] {
                let mut command =
                    scene.jail(&["--root-from-host", option, &pair(&path, "/srv/x"), "--", "true"]);
                let outcome = run(&mut command);
                assert_eq!(outcome.code, Some(125), "{option} {path:?}: {outcome:#?}");
                assert!(outcome.err.contains(&format!("{option}: cannot open")), "{}", outcome.err);
            }
        }
    }
}

#[test]
fn a_group_of_the_host_is_lent() {
    const LENT: u32 = 700_050;
    const LENT_BY_ROOT: u32 = 800_050;
    // Only root can give a file to such a group.
    for two in Two::each().into_iter().filter(|_| geteuid().is_root()) {
        let group = if two.caller == 0 { LENT_BY_ROOT } else { LENT };
        let folder = two.folder("devices");
        let file = two.path("devices").join("i2c");
        fs::write(&file, "device\n").unwrap();
        chown(&file, Some(0), Some(group)).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        let grant = format!("{folder}:/srv/devices");
        let options = ["--grant", &grant];
        assert_eq!(two.sh("blog", &options, "cat /srv/devices/i2c").code, Some(1), "without the group");
        let number = group.to_string();
        let with = [&options[..], &["--group", &number]].concat();
        assert_eq!(
            two.ok("blog", &with, "cat /srv/devices/i2c; id -G | tr ' ' '\\n' | grep -c ."),
            "device\n2\n"
        );
        let said = two.error("blog", &["--group", "5"]);
        assert!(said.contains("newgidmap refused"), "{said}");
    }
}
