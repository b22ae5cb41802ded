//! Apps of real frameworks with bound services, unchanged from Heroku: migrations, a page that writes and reads rows, jobs in a
//! queue, and a database server that is killed.

mod bound_app;

use std::process::Command;
use std::thread;

use piku_tests::gems;
use piku_tests::world::World;

use bound_app::{BoundApp, Framework, says};

const FRAMEWORKS: [Framework; 5] = [
    Framework {
        name: "django",
        page: "notes/views.py",
        migrated: "Applying notes.0001_initial... OK",
        has_jobs: true,
    },
    Framework { name: "flask", page: "app.py", migrated: "Running upgrade  -> 0001", has_jobs: false },
    Framework { name: "node", page: "server.js", migrated: "MIGRATION 1700000000000_notes", has_jobs: false },
    Framework {
        name: "rails",
        page: "app/controllers/notes_controller.rb",
        migrated: "CreateNotes: migrated",
        has_jobs: true,
    },
    Framework {
        name: "spring",
        page: "src/main/java/notes/Main.java",
        migrated: "Migrating schema \"public\" to version \"1 - notes\"",
        has_jobs: false,
    },
];

#[test]
fn apps_use_their_services_unchanged() {
    let world = World::new();
    says(&world, "service:create postgres");
    let mut apps = FRAMEWORKS.map(|framework| BoundApp::new(&world, framework));
    pack_gems(&apps[3]);
    each(&mut apps, |app| {
        app.push_first();
        app.add("first");
    });

    // The same processes connect again.
    kill_postgres(&world);
    each(&mut apps, |app| {
        app.shows_all();
        app.add("second");
        app.has_not_restarted();
    });

    // A deploy waits for the server.
    kill_postgres(&world);
    each(&mut apps, |app| {
        app.push_second();
        app.add("third");
    });
}

/// Does the same with all apps at once.
fn each(apps: &mut [BoundApp<'_>], act: impl Fn(&mut BoundApp<'_>) + Sync) {
    thread::scope(|scope| {
        for app in apps {
            scope.spawn(|| act(app));
        }
    });
}

/// Puts the gems of this machine into the app, because no server of gems is there.
fn pack_gems(app: &BoundApp<'_>) {
    let cache = app.repo.path().join("vendor/cache");
    gems::pack_gems_with_needs(&cache, &["activerecord", "pg", "railties", "sidekiq", "webrick"]);
    gems::lock(app.repo.path());
}

fn kill_postgres(world: &World) {
    let pid = world.ps("postgres")[0]["pid"].as_i64().expect("a pid");
    let killed = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    assert!(killed.expect("kill").success());
}
