//! Development servers and development dependencies, as scripts start them.

use std::collections::BTreeSet;
use std::path::Path;

use super::package_json::PackageJson;
use crate::app::started_programs::find_started;

/// Commands that run a development server, whatever follows; of one word if only options do.
const SERVERS: [&str; 41] = [
    "astro dev",
    "astro preview",
    "astro start",
    "brunch watch",
    "craco start",
    "docusaurus start",
    "ember s",
    "ember serve",
    "ember server",
    "gatsby develop",
    "hexo s",
    "hexo server",
    "max dev",
    "nest start",
    "next dev",
    "ng serve",
    "nitro dev",
    "nuxi dev",
    "nuxt dev",
    "nx serve",
    "parcel",
    "parcel serve",
    "preact watch",
    "react-app-rewired start",
    "react-router dev",
    "react-scripts start",
    "remix dev",
    "rsbuild dev",
    "snowpack dev",
    "storybook dev",
    "umi dev",
    "vinxi dev",
    "vite",
    "vite dev",
    "vite preview",
    "vite serve",
    "vitepress dev",
    "vue-cli-service serve",
    "vuepress dev",
    "webpack serve",
    "webpack-dev-server",
];
/// Generators of pages that serve them with one of [`OPTIONS`].
const GENERATORS: [&str; 4] = ["eleventy", "@11ty/eleventy", "stencil", "metalsmith"];
const OPTIONS: [&str; 3] = ["--serve", "--watch", "--dev"];
/// Words that start the program behind them.
const IN_FRONT: [&str; 6] = ["npx", "cross-env", "env", "exec", "bunx", "dlx"];
/// Package managers that run scripts, with and without `run`.
const MANAGERS: [&str; 4] = ["npm", "yarn", "pnpm", "bun"];
/// The largest number of programs that are looked at.
const MOST_PROGRAMS: usize = 1000;
/// Programs that are not named as their packages.
const PROGRAMS: [(&str, &str); 8] = [
    ("nest", "@nestjs/cli"),
    ("eleventy", "@11ty/eleventy"),
    ("ng", "@angular/cli"),
    ("ember", "ember-cli"),
    ("tsc", "typescript"),
    ("babel-node", "@babel/node"),
    ("gulp", "gulp-cli"),
    ("dotenv", "dotenv-cli"),
];

/// Returns whether a script runs a development server and nothing else. One that is told the port is meant
/// for users.
pub(super) fn runs_server(package: &PackageJson, script: &str) -> bool {
    if script.contains("$PORT") || script.contains("${PORT") {
        return false;
    }
    let commands = expand(package, script);
    matches!(commands.as_slice(), [words] if is_server(words))
}

fn is_server(words: &[String]) -> bool {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some((program, rest)) = words.split_first() else { return false };
    let is_page =
        |word: &str| word.starts_with('-') || Path::new(word).extension().is_some_and(|it| it == "html");
    GENERATORS.contains(program) && rest.iter().any(|word| OPTIONS.contains(word))
        || SERVERS.iter().any(|server| match server.split_once(' ') {
            Some((first, second)) => program == &first && rest.first() == Some(&second),
            None => program == server && rest.first().is_none_or(|word| is_page(word)),
        })
}

/// Returns the words of all programs that a command starts, directly or by scripts.
pub(super) fn started_words(package: &PackageJson, command: &str) -> Vec<String> {
    expand(package, command).concat()
}

/// Returns the packages whose program or module a word of a command may be: `ts-node/register`,
/// `@nestjs/cli`.
pub(super) fn packages_of(word: &str) -> impl Iterator<Item = &str> {
    let value = word.rsplit('=').next().unwrap_or_default();
    // The first part may be the owner of the package.
    let ends = value.match_indices('/').map(|(at, _)| at).take(2).chain([value.len()]);
    let programs = PROGRAMS.iter().filter(move |(program, _)| *program == word);
    ends.map(|end| &value[..end]).chain(programs.map(|(_, package)| *package))
}

/// Returns the words of each program that a script starts, itself or by the scripts that it runs. Each script
/// is read once: they may run one another.
fn expand(package: &PackageJson, script: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let mut seen = BTreeSet::from([script]);
    let mut unread = vec![script];
    while let Some(script) = unread.pop() {
        for started in find_started(script) {
            let mut words = started.words;
            let is_front = |word: &String| {
                IN_FRONT.contains(&word.as_str()) || word.contains('=') && !word.starts_with('-')
            };
            let front = words.iter().take_while(|word| is_front(word)).count();
            words.drain(..front);
            match find_script(package, &words) {
                Some(inner) if seen.insert(inner) => unread.push(inner),
                Some(_) => {}
                None if commands.len() >= MOST_PROGRAMS => return commands,
                None => commands.push(words),
            }
        }
    }
    commands
}

/// Returns the script that `npm run NAME`, `npm start`, `yarn NAME` and the like run.
fn find_script<'a>(package: &'a PackageJson, words: &[String]) -> Option<&'a str> {
    let (manager, rest) = words.split_first()?;
    let names = rest.iter().map(String::as_str).filter(|word| !word.starts_with('-'));
    let name = names.into_iter().find(|word| !matches!(*word, "run" | "run-script" | "exec"))?;
    let is_script = manager != "npm" || name == "start" || rest.iter().any(|word| word.starts_with("run"));
    package.script(name).filter(|_| MANAGERS.contains(&manager.as_str()) && is_script)
}
