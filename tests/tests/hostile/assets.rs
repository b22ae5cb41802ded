//! Rails' assets: what a task of the app has left where they are, when piku takes the times out of the compressed ones.

use std::fs;
use std::process::Command;

use crate::victim::VictimWorld;

/// Makes gems with the names that a Rails app has, whose `rake` does what the app says.
const GEMS: &str = r##"
require "rubygems/package"
require "tmpdir"
folder = File.expand_path(ARGV[0])
Dir.mktmpdir do |dir|
  Dir.chdir(dir) do
    Dir.mkdir("exe")
    File.write("exe/rake", "#!/usr/bin/env ruby
exec '/bin/sh', '-c', '. ./task'
")
    %w[rake railties sprockets-rails].each do |name|
      spec = Gem::Specification.new do |s|
        s.name, s.version, s.summary, s.authors, s.date = name, "1.0.0", "A gem of a test", ["Nobody"], "2026-01-01"
        s.files, s.bindir, s.executables = ["exe/rake"], "exe", ["rake"] if name == "rake"
      end
      Gem::Package.build(spec, true, false, File.join(folder, spec.file_name))
    end
  end
end
"##;
const GEMFILE: &str = "source 'http://127.0.0.1:1'\ngem 'rake'\ngem 'railties'\ngem 'sprockets-rails'\n";
const LOCK: &str = "GEM\n  remote: http://127.0.0.1:1/\n  specs:\n    rake (1.0.0)\n    railties (1.0.0)\n    \
                    sprockets-rails (1.0.0)\n\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n  rake\n  railties\n  sprockets-rails\n";
/// An empty gzip file with a time in it.
const GZIP: [u8; 20] = [31, 139, 8, 0, 1, 2, 3, 4, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn compressed_assets_stay_inside_tree() {
    let host = VictimWorld::new(&[], &[("assets/page.gz", &GZIP)]);
    let repo = host.attacker("evil");
    fs::create_dir_all(repo.path().join("vendor/cache")).expect("a folder");
    let made = Command::new("ruby").args(["-e", GEMS, "vendor/cache"]).current_dir(repo.path()).output();
    let made = made.expect("ruby runs");
    assert!(made.status.success(), "{made:?}");
    repo.file("Gemfile", GEMFILE).file("Gemfile.lock", LOCK).file("config/application.rb", "");
    for task in [
        "rm -rf public; ln -s @ROOT@/apps/victim/data public",
        "mkdir public; ln -s @ROOT@ hop; ln -s ../hop/apps/victim/data/assets public/assets",
        // The folder that Rails has for passing things goes, not what a link in its place leads to.
        "rm -rf tmp; ln -s @ROOT@/apps/victim/data tmp; mkdir -p public/assets; cp own.gz public/assets; cd public/assets; \
         ln -s @ROOT@/apps/victim/data/assets/page.gz link.gz; mkfifo pipe.gz; truncate -s 10G sparse.gz",
    ] {
        let said =
            repo.file("task", host.aimed(task)).file("own.gz", GZIP).commit("Assets").push().succeeds();
        host.assert_untouched(&said);
    }
    let app = host.world.app("evil").join("current/app");
    let own = fs::read(app.join("public/assets/own.gz")).expect("the asset");
    assert_eq!((own.len(), &own[4..8]), (GZIP.len(), &[0; 4][..]));
    assert_eq!(fs::read_link(app.join("tmp")).expect("a link"), std::path::Path::new("/tmp"));
}
