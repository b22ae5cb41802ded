//! Limits of the certificates that one app requests.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use piku_tests::nginx::start_server;
use piku_tests::snapshot::text;

#[test]
fn a_key_of_one_app_cannot_use_up_the_orders_of_the_machine() {
    let (world, ports) = start_server("");
    let home = |name: &str| world.path("home").join(name);
    fs::create_dir(home(".acme.sh")).expect("a folder");
    fs::write(home(".acme.sh/acme.sh"), crate::settings::ACME).expect("a script");
    fs::set_permissions(home(".acme.sh/acme.sh"), fs::Permissions::from_mode(0o755)).expect("a mode");
    fs::write(home("port"), ports.http.to_string()).expect("a port");
    fs::write(home("refuse"), "").expect("a file");
    let asked = || fs::read_to_string(home("asked")).unwrap_or_default().lines().count();
    let repo = world.repo("blog");
    repo.serves("page\n").file("ENV", "NGINX_SERVER_NAME=blog.example.org\n").commit("One").push().succeeds();
    let renew = || {
        let mut tool = world.tool("piku-run");
        let out =
            tool.args(["certs", "renew", "blog", "--force"]).env("PIKU_KEY", "laptop").output().expect("it");
        (out.status.success(), text(&out))
    };
    for name in 0..4 {
        let (good, said) = renew();
        assert!(!good && said.contains("no A record found"), "{said}");
        let env = format!("NGINX_SERVER_NAME=blog.example.org www{name}.example.org\n");
        repo.file("ENV", env).commit("Another name").push().succeeds();
    }
    assert_eq!(asked(), 4);
    let limit = "blog has requested 4 in an hour, which is the limit; the next one is after ";
    let hint = "hint: on the server, the operator may: sudo piku certs:renew blog --force";
    let (good, said) = renew();
    assert!(!good && said.contains(limit) && said.contains(hint), "{said}");
    // Not by another app of the same name either.
    assert!(world.ssh("laptop", "destroy blog --confirm blog --now").status.success());
    repo.file("page", "again\n").commit("Again").push().succeeds();
    let (good, said) = renew();
    assert!(!good && said.contains(limit), "{said}");
    // The timer passes it over, and requests that of another app.
    let shop = world.repo("shop");
    shop.serves("page\n").file("ENV", "NGINX_SERVER_NAME=shop.example.org\n").commit("One").push().succeeds();
    fs::remove_file(home("refuse")).expect("a file");
    let certs =
        |words: &[&str]| world.tool("piku-run").args(["certs", "renew"]).args(words).output().expect("it");
    let out = certs(&[]);
    assert!(out.status.success() && text(&out).contains(&format!("blog: {limit}")), "{}", text(&out));
    assert!(text(&out).contains("Requesting a certificate for shop"), "{}", text(&out));
    // The operator on the machine insists.
    let out = certs(&["blog", "--force"]);
    assert!(out.status.success(), "{}", text(&out));
    assert_eq!(asked(), 4 + 2 * 2);
}
