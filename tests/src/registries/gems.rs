//! Gems for tests: packed again from the gems of this machine, or generated with native code; for the
//! directory of an app or for the index on loopback.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Packs an installed gem.
const PACK: &str = r#"
require "rubygems/package"
folder, *names = ARGV
names.each do |name|
  spec = Gem::Specification.find_by_name(name).dup
  target = File.join(folder, spec.file_name)
  Dir.chdir(spec.full_gem_path) do
    spec.files = Dir["**/*"].select { |path| File.file?(path) }
    Gem::Package.build(spec, true, false, target)
  end
end
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

/// Builds a gem with native code into a directory.
pub fn make_gem(folder: &Path, name: &str, version: &str) {
    ruby(MAKE, folder, &[name, version]);
}

/// Writes the index of the gems in `top/gems`.
pub(crate) fn write_index(top: &Path) {
    fs::create_dir_all(top.join("info")).expect("a folder");
    ruby(LIST, top, &[]);
}

fn ruby(script: &str, folder: &Path, args: &[&str]) {
    fs::create_dir_all(folder).expect("a folder");
    let out = Command::new("ruby").args(["-e", script]).arg(folder).args(args).output().expect("ruby runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}
