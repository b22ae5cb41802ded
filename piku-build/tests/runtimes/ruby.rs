//! Ruby apps whose gems lie in the app itself, built by the real Bundler: no server of gems is asked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use piku_tests::snapshot::str;

use crate::support::World;

/// As much of a Rails app as a build sees; its `rake` says what it was told, and leaves a compressed asset
/// with a time in it.
const SHOP: &[(&str, &str)] = &[
    ("Gemfile", "gem 'railties', path: 'gems/railties'\ngem 'propshaft', path: 'gems/propshaft'\n"),
    (
        "gems/railties/railties.gemspec",
        "Gem::Specification.new { |s| s.name, s.version, s.summary, s.authors = 'railties', '7.0.0', 'x', ['x']\n\
         s.files, s.bindir, s.executables = Dir['**/*'], 'exe', ['rake'] }\n",
    ),
    (
        "gems/railties/exe/rake",
        "puts \"rake #{ARGV.join(' ')} #{ENV['RAILS_ENV']} #{ENV['SECRET_KEY_BASE']}\"\n\
         require 'fileutils'; FileUtils.mkdir_p('public/assets')\n\
         puts \"compiled before: #{File.exist?('tmp/cache/assets/x')}\"; File.write('tmp/cache/assets/x', '')\n\
         File.binwrite('public/assets/a.css.gz', [31, 139, 8, 0].pack('C*') + [Time.now.to_i].pack('V') + 'rest')\n",
    ),
    (
        "gems/propshaft/propshaft.gemspec",
        "Gem::Specification.new { |s| s.name, s.version, s.summary, s.authors = 'propshaft', '1.0.0', 'x', ['x'] }\n",
    ),
    ("config/application.rb", ""),
    ("config/credentials.yml.enc", "x"),
    ("bin/rails", "#!/usr/bin/env ruby\n"),
];

/// A world with this app; its programs may be run.
fn world(files: &[(&str, &str)]) -> World {
    let world = World::new(files);
    for (name, text) in files.iter().filter(|(_, text)| text.starts_with("#!")) {
        world.executable(name, text);
    }
    world
}

#[test]
fn assets_are_made_and_the_secret_stays_the_same_and_unseen() {
    let world = world(SHOP);
    let plan = world.run(&["plan", "app", "--format", "json"]);
    plan.good(&["warning: config/credentials.yml.enc cannot be read without its key"]);
    let json: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!((&json["runtime"], &json["layers"][0]["name"]), (&"ruby".into(), &"gems".into()));
    assert_eq!(
        (&json["processes"]["web"], &json["processes_from"]),
        (&"bin/rails server -b $BIND_ADDRESS -p $PORT -e $RAILS_ENV".into(), &"bin/rails".into())
    );
    assert!(json["env"].as_array().unwrap().contains(&"SECRET_KEY_BASE".into()), "{json}");

    let built = world.build("1");
    built.good(&["       rake assets:precompile production not-used-in-builds\n", "compiled before: false"]);
    let secret = |name: &str| world.release(name).env.get("SECRET_KEY_BASE").cloned();
    let first = secret("1").unwrap();
    assert_eq!(first.len(), 128);
    built.not_said(&first);
    let asset = fs::read(world.path("out/1/app/public/assets/a.css.gz")).unwrap();
    assert_eq!(asset, b"\x1f\x8b\x08\x00\0\0\0\0rest", "the same whenever it is built");
    assert!(!world.path("out/1/app/tmp/cache/assets").exists());
    if crate::support::has_jail() {
        assert_eq!(fs::read_link(world.path("out/1/app/tmp")).unwrap(), Path::new("/tmp"));
    }

    world
        .build_with("2", &["--before", "out/1"])
        .good(&["Dependencies are unchanged", "compiled before: true"]);
    assert_eq!(secret("2").unwrap(), first);
    world.write("ENV", "SECRET_KEY_BASE=own\nDISABLE_ASSETS_PRECOMPILE=1\n");
    world.build_with("3", &["--before", "out/2"]).good(&[]).not_said("rake assets");
    assert_eq!(secret("3"), None, "the app's own is in its ENV");

    // The assets of many are built by Node first; what that would start by itself does not count.
    world.write("ENV", "PIKU_RUNTIMES=node,ruby\n");
    world.write("package.json", r#"{"scripts": {"build": "echo made > built.txt"}}"#);
    world.build("node").good(&["rake assets:precompile", "Process types: web (by default, from bin/rails)"]);
    assert!(world.path("out/node/app/built.txt").is_file());

    // A gem that lies in the app is another one with another version.
    let gemspec = SHOP[1].1.replace("7.0.0", "7.0.1");
    world.write("gems/railties/railties.gemspec", gemspec);
    world.build("4").good(&["Installing dependencies", "railties 7.0.1"]);
}

#[test]
fn a_ruby_beside_the_systems_is_taken_where_it_fits_better() {
    let files = [
        ("Gemfile", ""),
        (".ruby-version", "3.98.1\n"),
        ("Procfile", "web: ruby app.rb\n"),
        ("app.rb", "puts 1"),
    ];
    let mut world = world(&files);
    let versions = world.path("rbenv/versions/3.98.1/bin");
    fs::create_dir_all(&versions).unwrap();
    // The system's, which says another number.
    let own = "#!/bin/sh\n[ \"$1\" != -e ] || exec /usr/bin/ruby \"$@\" | sed 's/^3[.][0-9]*[.][0-9]*$/3.98.1/;3s/.*/3.98.0/'\nexec /usr/bin/ruby \"$@\"\n";
    for (name, text) in [("ruby", own), ("bundle", "#!/bin/sh\nexec /usr/bin/bundle \"$@\"\n")] {
        fs::write(versions.join(name), text).unwrap();
        fs::set_permissions(versions.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    world.env("RBENV_ROOT", world.path("rbenv").to_str().unwrap());
    world.build("1").good(&["Ruby 3.98.1 (.ruby-version)"]).not_said("nearest");
    let release = world.release("1");
    let home = fs::canonicalize(world.path("rbenv/versions/3.98.1")).unwrap();
    assert_eq!(release.host, if crate::support::has_jail() { vec![home.clone()] } else { Vec::new() });
    let which = world.work("1", &["/bin/sh", "-c", "command -v ruby"]);
    assert_eq!(which.good(&[]).stdout.trim(), home.join("bin/ruby").to_str().unwrap());

    world.write("Gemfile", "ruby '~> 3.98.2'\n");
    world.build("2").fails(str![[r#"
piku-build: Gemfile allows only Ruby ~> 3.98.2; this machine has [..], 3.98.1
hint: if the app runs on it, write: ruby "~> 3.98.1"; then 'bundle lock', and commit both files
hint: or have the machine's operator install it with rbenv as the user that runs piku: rbenv install 3.98.2

"#]]);
}

#[test]
fn apps_without_gemfile_or_command_are_explained() {
    let app = |files: &[(&str, &str)]| world(files);
    app(&[("Gemfile", "")]).build("1").fails(str![[r#"
piku-build: this is a Ruby app, and it is not obvious what to start: it has no config.ru and is not a Rails app
hint: add a file 'Procfile' with a line for each process, such as 'web: bundle exec puma -b tcp://$BIND_ADDRESS:$PORT' or 'worker: bundle exec ruby worker.rb'

"#]]);
    app(&[("Gemfile", ""), ("Procfile", "web: bundle exec rackup\n")]).build("1").fails(str![[r#"
 !     warning: there is no Gemfile.lock: Bundler installs what Gemfile allows, which may be other versions each time; 'bundle lock' makes one, commit it
piku-build: web: 'bundle exec rackup' starts nothing: no gem of the Gemfile brings 'rackup'
hint: since Rack 3 it is a separate gem: bundle add rackup

"#]]);
    app(&[("gemfile", ""), ("config.ru", "")]).build("1").fails(str![[r#"
piku-build: this looks like a Ruby app, but its gems are in 'gemfile'; expected 'Gemfile'
hint: git mv gemfile Gemfile

"#]]);
    app(&[("Gemfile.lock", "")]).build("1").fails(str![[r#"
piku-build: there is a Gemfile.lock and no Gemfile: Bundler needs both
hint: is it committed? git add Gemfile

"#]]);
    app(&[("config.ru", "")]).build("1").fails(str![[r#"
piku-build: this looks like a Ruby app, but it has a config.ru and no Gemfile
hint: make one and commit it with its lock: bundle init && bundle add rack rackup puma

"#]]);
    let broken = app(&[("Gemfile", "gem 'a\n"), ("config.ru", "")]);
    broken.build("1").fails(str![[r#"
 !     warning: there is no Gemfile.lock: Bundler installs what Gemfile allows, which may be other versions each time; 'bundle lock' makes one, commit it
piku-build: Gemfile:1: [..]

"#]]);
    assert_eq!(broken.outputs(), Vec::<String>::new());

    // One that lies there for a tool alone.
    let node =
        app(&[("Gemfile", "gem 'fastlane'\n"), ("package.json", r#"{"scripts": {"start": "node x.js"}}"#)]);
    assert!(node.run(&["detect", "app"]).good(&[]).stdout.starts_with("node: "));
    let files = [
        ("gems.rb", ""),
        ("Procfile", "web: ruby app.rb\n"),
        ("app.rb", "puts RUBY_ENGINE, ENV['RACK_ENV'], $stdout.sync\n"),
    ];
    let plain = app(&files);
    plain.build("1").good(&["Ruby app detected: there is a gems.rb"]);
    assert_eq!(
        plain.work("1", &["bundle", "exec", "ruby", "app.rb"]).good(&[]).stdout,
        "ruby\nproduction\ntrue\n"
    );
    let head = plain.run(&["pack", "out/1", "--layers", "cache/layers", "--part", "head"]);
    assert!(head.good(&[]).stdout.contains("/usr/bin/ruby"), "another machine is asked for it: {head}");
}
