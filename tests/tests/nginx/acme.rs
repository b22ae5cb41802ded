//! Certificates by certbot from an authority that asks for its proofs: Let's Encrypt's own Pebble. Not part of all tests, since
//! it is not to be had from Debian. CONTRIBUTING.md says how it is run.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use piku_tests::acme::Authority;
use piku_tests::nginx::Ports;
use piku_tests::world::{World, wait_for};

/// `piku-run certs renew`.
fn renew(world: &World, authority: &Authority, more: &[&str]) -> Command {
    let mut command = world.tool("piku-run");
    command.args(["certs", "renew"]).args(more).env("REQUESTS_CA_BUNDLE", authority.own_certificate());
    command
}

/// The same to its end: whether it is good, and what it said.
fn renewed(world: &World, authority: &Authority, more: &[&str]) -> (bool, String) {
    let out = renew(world, authority, more).output().expect("piku-run");
    (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
}

#[test]
#[ignore = "needs certbot and pebble, see CONTRIBUTING.md"]
fn certbot_gets_what_browsers_trust_through_pikus_nginx() {
    let ports = Ports::free();
    let mut world = World::with_settings("");
    let authority = Authority::start(&world.path("authority"), ports.http);
    let certbot =
        format!(", acme: certbot, acme_server: '{}', acme_email: 'ann@example.org'", authority.url());
    world.set_settings(&ports.settings(&certbot));
    world.start_nginx();
    let repo = world.repo("blog");
    // Neither stands in the authority's way.
    let env = "NGINX_SERVER_NAME=blog.example.org www.example.org pi.local\nNGINX_HTTPS_ONLY=1\n";
    repo.serves("one\n").file("ENV", format!("{env}NGINX_BASIC_AUTH=ann:secret\n")).commit("One");
    repo.push().succeeds();
    let certificates = world.root().join("acme/certificates/blog");
    let in_use = || fs::read_link(certificates.join("current")).expect("a link");
    let own = certificates.join("current/certificate.pem");
    assert_eq!(ports.get_securely("blog.example.org", "/", Some(&own)).status, 401, "self-signed");

    // The authority asks at another address: it says why, and what was there stays.
    let before = in_use();
    authority.lead_to("127.0.0.2");
    let (good, said) = renewed(&world, &authority, &[]);
    assert!(
        !good && said.contains("connection refused") && said.contains("certbot got no certificate"),
        "{said}"
    );
    assert!(said.contains("hint: all that it said stands above"), "{said}");
    assert_eq!(in_use(), before);
    assert_eq!(ports.get_securely("blog.example.org", "/", Some(&own)).status, 401);
    authority.lead_to("127.0.0.1");
    let (good, said) = renewed(&world, &authority, &[]);
    assert!(good && said.contains(" failed; the next one is after "), "{said}");

    // Deploys do not wait for one that takes its time.
    authority.hold(true);
    let mut slow = renew(&world, &authority, &["--force"]);
    let mut slow = slow.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("piku-run");
    wait_for("certbot", || !piku_tests::processes::find(&world.root(), "certonly").is_empty());
    repo.file("page", "two\n").file("ENV", env).commit("Two").push().succeeds();
    assert!(slow.try_wait().expect("it").is_none(), "the authority holds it up");
    authority.hold(false);
    assert!(slow.wait().expect("it").success(), "{}", world.logs());
    assert_ne!(in_use(), before);
    let root = authority.root();
    for name in ["blog.example.org", "www.example.org"] {
        assert_eq!(ports.get_securely(name, "/", Some(&root)).body, "two\n");
    }
    let served = ports.get("blog.example.org", "/");
    assert!(served.status == 301 && served.head.contains("https://blog.example.org"), "{served:?}");

    // It is good for four more days: nobody is asked.
    let first = in_use();
    let begin = Instant::now();
    authority.hold(true);
    assert!(renewed(&world, &authority, &[]).0 && begin.elapsed() < Duration::from_secs(60));
    authority.hold(false);
    assert_eq!(in_use(), first);

    // A deploy with a further name and without another serves what there is; the next renewal has them all.
    repo.file("ENV", "NGINX_SERVER_NAME=blog.example.org shop.example.org\n").commit("Three");
    let said = repo.push().succeeds();
    assert!(said.contains("the certificate does not cover shop.example.org yet"), "{said}");
    assert_eq!(ports.get_securely("blog.example.org", "/", Some(&root)).body, "two\n");
    let (good, said) = renewed(&world, &authority, &["blog"]);
    assert!(good, "{said}");
    assert_ne!(in_use(), first);
    assert_eq!(ports.get_securely("shop.example.org", "/", Some(&root)).body, "two\n");

    // Where piku's copy is lost, certbot's own is good enough.
    fs::remove_dir_all(&certificates).expect("the certificates");
    repo.file("page", "four\n").commit("Four").push().succeeds();
    let (good, said) = renewed(&world, &authority, &[]);
    assert!(good, "{said}");
    assert_eq!(ports.get_securely("shop.example.org", "/", Some(&root)).body, "four\n");
}
