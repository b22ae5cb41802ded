//! Gems for tests: packed again from the gems of this machine, or generated with native code; for the
//! directory of an app or for the index on loopback.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Packs installed gems. What Debian has compiled becomes a gem of this platform, with nothing left to compile; a gem without
/// a directory of its own lies in Ruby's.
const PACK: &str = r##"
require "rubygems/package"
require "fileutils"
require "tmpdir"
folder, *names = ARGV
folder = File.expand_path(folder)
names.each do |name|
  spec = Gem::Specification.find_by_name(name).dup
  Dir.mktmpdir do |dir|
    own, lib = spec.full_gem_path, File.join(dir, "lib")
    FileUtils.cp_r("#{own}/.", dir) if File.directory?(own)
    FileUtils.mkdir_p(lib)
    unless File.directory?(own)
      package = IO.popen(["dpkg", "-S", spec.loaded_from], &:read)[/^[^:,]+/]
      IO.popen(["dpkg", "-L", package], &:readlines).map(&:chomp).each do |path|
        below = path[%r{/vendor_ruby/(?:\d[^/]*/)?(.+)}, 1]
        next unless below && File.file?(path)
        FileUtils.mkdir_p(File.join(lib, File.dirname(below)))
        FileUtils.cp(path, File.join(lib, below))
      end
    end
    if spec.extensions.any?
      FileUtils.cp_r("#{spec.extension_dir}/.", lib)
      spec.extensions, spec.require_paths = [], ["lib"]
    end
    Dir.chdir(dir) do
      spec.executables = spec.executables.select { |program| File.file?(File.join(spec.bindir, program)) }
      spec.test_files, spec.extra_rdoc_files = [], []
      spec.files = Dir["**/*"].select { |path| File.file?(path) }
      spec.platform = Gem::Platform.local if spec.files.any? { |path| path.end_with?(".so") }
      Gem::Package.build(spec, true, false, File.join(folder, spec.file_name))
    end
  end
end
"##;

/// Prints the names of installed gems with those of all that they need.
const CLOSURE: &str = r#"
_, *names = ARGV
names.each do |name|
  names.concat(Gem::Specification.find_by_name(name).runtime_dependencies.map(&:name) - names)
end
puts names.uniq
"#;

/// Builds a gem whose module has a `version` function in C.
const MAKE: &str = r##"
require "rubygems/package"
require "tmpdir"
folder, name, version = ARGV
big = name.capitalize
Dir.mktmpdir do |dir|
  Dir.chdir(dir) do
    Dir.mkdir("lib")
    Dir.mkdir("ext")
    File.write("lib/#{name}.rb", "require '#{name}_native'\n")
    File.write("ext/extconf.rb", "require 'mkmf'\ncreate_makefile('#{name}_native')\n")
    File.write("ext/native.c", <<~C)
      #include <ruby.h>
      static VALUE version(VALUE self) { return rb_str_new_cstr("#{version}"); }
      void Init_#{name}_native(void) { rb_define_singleton_method(rb_define_module("#{big}"), "version", version, 0); }
    C
    spec = Gem::Specification.new do |s|
      s.name, s.version, s.summary, s.authors = name, version, "A gem of a test", ["Nobody"]
      s.date = "2026-01-01"
      s.files, s.extensions = Dir["{lib,ext}/*"], ["ext/extconf.rb"]
    end
    Gem::Package.build(spec, true, false, File.join(folder, spec.file_name))
  end
end
"##;

/// Writes the compact index that Bundler reads.
const LIST: &str = r##"
require "rubygems/package"
require "digest"
top = ARGV[0]
gems = Dir["#{top}/gems/*.gem"].map { |file| [Gem::Package.new(file).spec, Digest::SHA256.file(file).hexdigest] }
versions = gems.group_by { |spec, _| spec.name }.sort.map do |name, all|
  all = all.sort_by { |spec, _| spec.version }
  lines = all.map do |spec, sum|
    needs = spec.runtime_dependencies.map { |need| "#{need.name}:#{need.requirement.to_s.gsub(", ", "&")}" }
    "#{spec.version} #{needs.join(",")}|checksum:#{sum}\n"
  end
  info = "---\n#{lines.join}"
  File.write("#{top}/info/#{name}", info)
  "#{name} #{all.map { |spec, _| spec.version }.join(",")} #{Digest::MD5.hexdigest(info)}\n"
end
File.write("#{top}/versions", "created_at: 2026-01-01T00:00:00Z\n---\n#{versions.join}")
"##;

/// Returns the names of the gems that serve a `config.ru`; since Rack 3, `rackup` is a separate gem.
#[must_use]
pub fn rack_gem_names() -> Vec<&'static str> {
    let old =
        Command::new("ruby").args(["-e", "gem 'rack', '< 3'"]).output().expect("ruby runs").status.success();
    let mut names = vec!["rack", "webrick"];
    names.extend((!old).then_some("rackup"));
    names
}

/// Packs installed gems into a directory.
pub fn pack_gems(folder: &Path, names: &[&str]) {
    ruby(PACK, folder, names);
}

/// Packs installed gems and all that they need into a directory.
pub fn pack_gems_with_needs(folder: &Path, names: &[&str]) {
    let all = ruby(CLOSURE, folder, names);
    ruby(PACK, folder, &all.lines().collect::<Vec<_>>());
}

/// Locks the gems that lie in an app.
pub fn lock(app: &Path) {
    let home = tempfile::tempdir().expect("a folder");
    let out = Command::new("bundle")
        .args(["install", "--local", "--quiet"])
        .current_dir(app)
        .envs([("HOME", home.path()), ("BUNDLE_PATH", home.path())])
        .output()
        .expect("bundle runs");
    assert!(out.status.success(), "{out:?}");
}

/// Builds a gem with native code into a directory.
pub fn make_gem(folder: &Path, name: &str, version: &str) {
    ruby(MAKE, folder, &[name, version]);
}

/// Writes the index of the gems in `top/gems`.
pub(crate) fn write_index(top: &Path) {
    fs::create_dir_all(top.join("info")).expect("a folder");
    ruby(LIST, top, &[]);
}

fn ruby(script: &str, folder: &Path, args: &[&str]) -> String {
    fs::create_dir_all(folder).expect("a folder");
    let out = Command::new("ruby").args(["-e", script]).arg(folder).args(args).output().expect("ruby runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}
