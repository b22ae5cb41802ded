//! The error for an app that no runtime fits, in the words of the language that its files are of.

use std::fmt::Write;

use piku_procfile::misspelt;
use piku_report::user_error::UserError;

use super::join_names;
use crate::app::app_source::AppSource;

/// A language or kind of app, by its files.
struct KnownFiles {
    /// `a PHP app`.
    what: &'static str,
    /// Name of its runtime; empty if there is none.
    runtime: &'static str,
    names: &'static [&'static str],
    endings: &'static [&'static str],
    hints: &'static [&'static str],
}

/// The hint for languages without a runtime.
const NOT_BUILT: &str = "commit what your machine builds and a Procfile that starts it, or name a classic buildpack of the \
                         language: BUILDPACK_URL in ENV";
/// The hint for PHP.
pub(super) const PHP: &str = "a Procfile with the line 'web: php -S ${BIND_ADDRESS:-127.0.0.1}:$PORT' runs it by the machine's PHP (apt \
                   install php-cli); '-t public' names another folder";

/// Languages by their own files, then by the endings of code; what may lie beside any language is last.
const KNOWN: [KnownFiles; 26] = [
    KnownFiles::new("a PHP app", "", &["index.php", "composer.json", "artisan"], &["php"], &[PHP]),
    KnownFiles::new(
        "a Deno app",
        "",
        &["deno.json", "deno.jsonc", "deno.lock"],
        &[],
        &[
            "with deno in /usr/local/bin, a Procfile with a line such as 'web: deno run --allow-net --allow-env main.ts' starts it",
        ],
    ),
    KnownFiles::new(
        "a Bun app",
        "",
        &["bun.lock", "bun.lockb", "bunfig.toml"],
        &[],
        &[
            "with bun in /usr/local/bin, a Procfile with a line such as 'web: bun run index.ts' starts it; with a package.json, \
           'npm install bun' makes it a dependency",
        ],
    ),
    KnownFiles::new("an Elixir app", "", &["mix.exs"], &["ex", "exs"], &[NOT_BUILT]),
    KnownFiles::new("an Erlang app", "", &["rebar.config"], &["erl"], &[NOT_BUILT]),
    KnownFiles::new(
        "a .NET app",
        "",
        &["global.json"],
        &["csproj", "fsproj", "vbproj", "sln", "cs"],
        &[NOT_BUILT],
    ),
    KnownFiles::new("a Scala app", "", &["build.sbt", "build.sc"], &["scala"], &[NOT_BUILT]),
    KnownFiles::new("a Clojure app", "", &["project.clj", "deps.edn"], &["clj"], &[NOT_BUILT]),
    KnownFiles::new("a Crystal app", "", &["shard.yml"], &["cr"], &[NOT_BUILT]),
    KnownFiles::new("a Swift app", "", &["Package.swift"], &["swift"], &[NOT_BUILT]),
    KnownFiles::new("a Haskell app", "", &["stack.yaml"], &["cabal", "hs"], &[NOT_BUILT]),
    KnownFiles::new("a Dart app", "", &["pubspec.yaml"], &["dart"], &[NOT_BUILT]),
    KnownFiles::new("a Gleam app", "", &["gleam.toml"], &["gleam"], &[NOT_BUILT]),
    KnownFiles::new("a Zig app", "", &["build.zig"], &["zig"], &[NOT_BUILT]),
    KnownFiles::new("a C or C++ app", "", &["CMakeLists.txt"], &["c", "cc", "cpp"], &[NOT_BUILT]),
    KnownFiles::new(
        "a Perl app",
        "",
        &["cpanfile"],
        &["pl", "psgi"],
        &[
            "a Procfile with a line such as 'web: plackup -o ${BIND_ADDRESS:-127.0.0.1} -p $PORT' runs it by the machine's Perl (apt install plackup)",
        ],
    ),
    KnownFiles::new(
        "a Python app",
        "python",
        &[],
        &["py"],
        &[
            "a Procfile says what to start, such as 'web: python app.py'; dependencies are in requirements.txt",
        ],
    ),
    KnownFiles::new(
        "a Ruby app",
        "ruby",
        &["config.ru", "Rakefile"],
        &["rb"],
        &[
            "the smallest Ruby app is a Gemfile with its Gemfile.lock, and a config.ru or a Procfile with a line such as 'web: ruby app.rb'",
        ],
    ),
    KnownFiles::new(
        "a Java app",
        "java",
        &[],
        &["java", "kt"],
        &[
            "the smallest Java app is a class with a main method at the top; one with dependencies has a pom.xml or a build.gradle",
        ],
    ),
    KnownFiles::new(
        "a Go app",
        "go",
        &["Gopkg.toml", "glide.yaml"],
        &["go"],
        &[
            "the smallest Go app is a main.go with 'package main'; one with dependencies has a go.mod: 'go mod init NAME && go mod tidy'",
        ],
    ),
    KnownFiles::new(
        "a Rust app",
        "rust",
        &["Cargo.lock"],
        &["rs"],
        &["'cargo init' makes a Cargo.toml; commit it with Cargo.lock"],
    ),
    KnownFiles::new(
        "a Node app",
        "node",
        &["package-lock.json", "yarn.lock", "pnpm-lock.yaml", "tsconfig.json"],
        &["js", "mjs", "cjs", "ts", "tsx", "jsx"],
        &[
            "the smallest Node app is a server.js; 'npm init' makes a package.json, whose start script says what to start",
        ],
    ),
    KnownFiles::new(
        "a site of static files",
        "static",
        &[],
        &["html", "htm", "md"],
        &[
            "the page of a site is index.html; a Procfile with the line 'static: FOLDER' names the folder that is served",
        ],
    ),
    KnownFiles::new(
        "an app that a script starts",
        "binary",
        &[],
        &["sh"],
        &["a script called start.sh is started; a Procfile names another: 'web: sh run.sh'"],
    ),
    KnownFiles::new(
        "an app in a container",
        "",
        &[
            "Dockerfile",
            "Containerfile",
            "docker-compose.yml",
            "docker-compose.yaml",
            "compose.yaml",
            "compose.yml",
        ],
        &[],
        &[
            "a Dockerfile is not read: the files of a language say what to install, and a Procfile says what to start, as CMD \
           does: 'web: COMMAND'",
        ],
    ),
    KnownFiles::new(
        "an app of several process types",
        "",
        &["app.json", "fly.toml", "render.yaml", "railway.json", "nixpacks.toml", "project.toml"],
        &[],
        &[
            "of the settings of other platforms only parts of app.json are read: a Procfile says what to start, ENV has the variables",
        ],
    ),
];

impl KnownFiles {
    const fn new(
        what: &'static str,
        runtime: &'static str,
        names: &'static [&'static str],
        endings: &'static [&'static str],
        hints: &'static [&'static str],
    ) -> Self {
        Self { what, runtime, names, endings, hints }
    }

    /// Returns the file of the app that is of this kind.
    fn find<'a>(&self, names: &'a [String]) -> Option<&'a str> {
        let ending = |name: &str| name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
        let is_named = |name: &&str| self.names.contains(name);
        let has_ending = |name: &&str| self.endings.contains(&ending(name).as_str()) && !is_document(name);
        let all = || names.iter().map(String::as_str);
        all().find(is_named).or_else(|| all().find(has_ending))
    }
}

/// Returns whether a file is about an app, whatever its language.
fn is_document(name: &str) -> bool {
    ["README", "LICENSE", "CHANGELOG", "CONTRIBUTING"].iter().any(|document| name.starts_with(document))
}

/// No runtime fits the app. `looked_for` has the name of each runtime with what it misses, `below` the
/// folders that hold an app with its runtime.
pub(crate) fn nothing_fits(
    looked_for: &[(&str, String)],
    source: &AppSource,
    below: &[(String, &'static str)],
) -> UserError {
    let names = &source.names;
    let known = KNOWN.iter().find_map(|known| Some((known, known.find(names)?)));
    let mut text = String::from("no runtime fits this app");
    if let Some((known, file)) = known {
        let _ = write!(text, ", which looks like {} ('{file}')", known.what);
        if let Some((_, because)) = looked_for.iter().find(|(runtime, _)| *runtime == known.runtime) {
            let _ = write!(text, ": {because}");
        }
    } else {
        text += "; looked for:";
        for (runtime, because) in looked_for {
            let _ = write!(text, "\n  {runtime}: {because}");
        }
    }
    let there = if names.is_empty() { "nothing".to_owned() } else { join_names(names) };
    let _ = write!(text, "\nfound at its top: {there}");
    for (folder, runtime) in below {
        let _ = write!(text, "\n'{folder}/' holds what looks like a {runtime} app");
    }
    let mut failure = UserError::new(text);
    if let Some(name) = misspelt::find_procfile(names).filter(|_| source.procfile.is_none()) {
        failure = failure.hint(format!("'{name}' is not read: rename it to 'Procfile'"));
    }
    if let Some((folder, _)) = below.first() {
        return failure
            .hint(format!("the line 'APP_DIR={folder}' in a file ENV at the top makes that folder the app"));
    }
    match known {
        Some((known, _)) => known.hints.iter().fold(failure, |failure, hint| failure.hint(*hint)),
        None => failure.hint(
            "the smallest Python app is an app.py, a requirements.txt and a Procfile with the line 'web: python app.py'",
        ),
    }
}

/// The pages of an app are PHP, which the web server would show as text.
pub(crate) fn php(name: &str) -> UserError {
    UserError::new(format!("this is a PHP app ('{name}'), for which piku has no runtime")).hint(PHP)
}

/// A process type starts Deno or Bun, which neither the machine nor the app's dependencies have.
pub(crate) fn no_js_runtime(program: &str, command: &str) -> UserError {
    UserError::new(format!("'{command}' starts {program}, which is missing on this machine")).hint(format!(
        "the operator puts it into /usr/local/bin; or, where there is a package.json, 'npm install {program}' makes it a dependency"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_about_the_language_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let source = AppSource::read(dir.path(), None).unwrap();
        for (names, what) in [
            (&["index.php", "index.html", "package-lock.json"][..], "a PHP app ('index.php')"),
            (&["deno.json", "main.ts"], "a Deno app ('deno.json')"),
            (&["bun.lock", "index.ts"], "a Bun app"),
            (&["Shop.csproj", "Program.cs"], "a .NET app ('Shop.csproj')"),
            (&["app.py", "Dockerfile"], "a Python app ('app.py'): python needs"),
            (&["lib.go"], "a Go app"),
            (&["about.html", "README.md"], "a site of static files ('about.html')"),
            (&["run.sh", "README.md"], "an app that a script starts ('run.sh')"),
            (&["Dockerfile", "README.md"], "an app in a container ('Dockerfile')"),
        ] {
            let mut source = AppSource::read(source.tree.path(), None).unwrap();
            source.names = names.iter().map(|name| (*name).to_owned()).collect();
            let looked_for = [("python", "python needs".to_owned()), ("ruby", "Gemfile".to_owned())];
            let told = nothing_fits(&looked_for, &source, &[]).to_string();
            assert!(
                told.contains(&format!("which looks like {what}")) && !told.contains("Gemfile"),
                "{told}"
            );
        }
        let told = nothing_fits(&[("ruby", "Gemfile".to_owned())], &source, &[]).to_string();
        assert!(told.contains("looked for:\n  ruby: Gemfile\nfound at its top: nothing"), "{told}");
    }
}
