//! Services on a host with `app_users: own`: a server is a user of its own to the kernel, and its clients are those of the apps.

use std::fs;
use std::os::unix::fs::MetadataExt;

use piku_tests::snapshot::text;
use piku_tests::world::World;

use crate::{says, says_with};

#[test]
fn server_and_its_clients_are_users_of_their_own() {
    let world = World::with_settings("app_users: own\n");
    let mut check = world.tool("piku-chroot");
    check.args(["--check", "--uid-range", "probe", "--uid-registry"]).arg(world.path("home/probe"));
    let out = check.output().expect("piku-chroot runs");
    if !out.status.success() {
        return piku_tests::skip(&format!("no users of their own here:\n{}", text(&out)));
    }
    drop(world);
    let world = crate::postgres::with_postgres("app_users: own\n");
    says(&world, "laptop", "service:bind postgres blog", 0);
    says(&world, "laptop", "deploy blog", 0);
    assert_eq!(world.page("blog"), "0\n");
    let owner = |path: &str| fs::metadata(world.root().join(path)).expect(path).uid();
    let piku = owner("services/postgres/state.json");
    let (server, app) = (owner("services/postgres/data"), owner("apps/blog/data"));
    assert!(server != piku && app != piku && server != app, "{piku} {server} {app}");
    crate::postgres::sql(&world, "blog", "INSERT INTO visits DEFAULT VALUES");
    let dump = says_with(&world, "service:dump blog", b"");
    assert!(dump.status.success(), "{}", text(&dump));
    let back = says_with(&world, "service:restore blog", &dump.stdout);
    assert!(back.status.success(), "{}", text(&back));

    // Its data stays its own in an upgrade, and piku removes it.
    says(&world, "laptop", "service:upgrade postgres --rebuild", 0);
    assert_eq!((owner("services/postgres/data"), owner("services/postgres/data.old")), (server, server));
    assert_eq!(world.page("blog"), "1\n");
    says(&world, "laptop", "service:upgrade postgres --confirm postgres", 0);
    says(&world, "laptop", "service:upgrade postgres --rebuild", 0);
    says(&world, "laptop", "service:upgrade postgres --undo", 0);
    assert_eq!(owner("services/postgres/data"), server);
    says(&world, "laptop", "service:unbind postgres blog", 0);
    says(&world, "laptop", "service:destroy postgres --confirm postgres", 0);
    assert_eq!(fs::read_dir(world.root().join("services")).expect("the services").count(), 0);
}
