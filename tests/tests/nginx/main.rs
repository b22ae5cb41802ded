//! Apps under their host names, served by a real nginx that piku runs.

mod acme;
mod fair_share;
mod first_url;
mod handshakes;
mod local_names;
mod logs;
mod neighbours;
mod order_limits;
mod settings;
mod sites;
mod status_page;
mod upgrade;

use piku_tests::snapshot::text;
use piku_tests::world::World;

/// Runs a verb by ssh, which must succeed.
#[track_caller]
fn run_verb(world: &World, words: &str) {
    let out = world.ssh("laptop", words);
    assert!(out.status.success(), "{words}: {}", text(&out));
}
