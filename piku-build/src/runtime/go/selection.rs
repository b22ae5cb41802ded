//! The programs that an app selects as on Heroku: by `// +heroku install` in go.mod, or
//! `GO_INSTALL_PACKAGE_SPEC`.

use super::go_mod::GoModule;
use super::packages::GoPackage;
use super::{MODULE, WORKSPACE};
use crate::app::app_source::AppSource;
use crate::errors;

/// Variable with package patterns.
const VARIABLE: &str = "GO_INSTALL_PACKAGE_SPEC";

/// Returns the programs that the app selects; all, if it selects none. An import path may be of a module that
/// go.mod requires.
///
/// # Errors
/// Fails if a pattern selects nothing.
pub(super) fn select(
    source: &AppSource,
    module: &GoModule,
    found: Vec<GoPackage>,
) -> anyhow::Result<Vec<GoPackage>> {
    let file = if source.has_entry(WORKSPACE) { WORKSPACE } else { MODULE };
    let (patterns, from) = match source.variable(VARIABLE) {
        Some((text, place)) => {
            (text.split_whitespace().map(str::to_owned).collect(), format!("{VARIABLE} in {place}"))
        }
        None => (module.heroku_install.clone(), format!("'// +heroku install' in {file}")),
    };
    if patterns.is_empty() {
        return Ok(found);
    }
    let mut external = Vec::new();
    for pattern in &patterns {
        if found.iter().any(|package| selects(pattern, package)) {
            continue;
        }
        let is_own = !module.path.is_empty()
            && pattern
                .strip_prefix(&module.path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let is_import = pattern.split('/').next().is_some_and(|host| host.trim_matches('.').contains('.'));
        if is_own || !is_import || pattern.ends_with("...") {
            let names: Vec<_> = found.iter().map(GoPackage::pattern).collect();
            return Err(errors::go::selects_nothing(&from, pattern, &names).into());
        }
        external.push(GoPackage::external(pattern));
    }
    let mut selected = found;
    selected.retain(|package| patterns.iter().any(|pattern| selects(pattern, package)));
    selected.extend(external);
    Ok(selected)
}

/// Returns whether a pattern selects a program, by its folder or by its import path.
fn selects(pattern: &str, package: &GoPackage) -> bool {
    pattern == "all"
        || matches_pattern(pattern, &package.pattern())
        || matches_pattern(pattern, &package.import)
}

/// Matches a package pattern: `./...` and `./cmd/...` include the packages below.
fn matches_pattern(pattern: &str, package: &str) -> bool {
    let bare = |text: &str| text.trim_start_matches("./").trim_end_matches('/').to_owned();
    match pattern.strip_suffix("...") {
        Some(front) => {
            let (front, package) = (bare(front), bare(package));
            front.is_empty() || front == "." || package == front || package.starts_with(&format!("{front}/"))
        }
        None => bare(pattern) == bare(package),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, package) in [
            ("./...", "./cmd/web"),
            ("./...", "."),
            ("./cmd/...", "./cmd/web"),
            ("./cmd/web", "./cmd/web"),
            (".", "."),
            ("example.org/shop/...", "example.org/shop/cmd/web"),
            ("example.org/shop", "example.org/shop"),
        ] {
            assert!(matches_pattern(pattern, package), "{pattern} {package}");
        }
        for (pattern, package) in [("./cmd/...", "./cmdline"), ("./cmd", "./cmd/web"), (".", "./cmd/web")] {
            assert!(!matches_pattern(pattern, package), "{pattern} {package}");
        }
    }

    #[test]
    fn import_paths_select_too() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in
            [("go.mod", ""), ("main.go", "package main\n"), ("cmd/web/main.go", "package main\n")]
        {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let source = AppSource::read(dir.path(), None).unwrap();
        let tags = super::super::BuildTags { architecture: "amd64".to_owned(), minor: 22, asked: Vec::new() };
        let select = |install: &str| {
            let module = GoModule::parse(&format!("// +heroku install {install}\nmodule example.org/shop\n"));
            let found = super::super::packages::find_programs(&source, "".as_ref(), &module, &tags)?;
            let selected = super::select(&source, &module, found)?;
            anyhow::Ok(
                selected.iter().map(|one| format!("{} {}", one.name, one.pattern())).collect::<Vec<_>>(),
            )
        };
        assert_eq!(select("example.org/shop/cmd/web").unwrap(), ["web ./cmd/web"]);
        assert_eq!(select("example.org/shop/... ").unwrap(), ["shop .", "web ./cmd/web"]);
        assert_eq!(
            select(". tools.example.org/migrate/v4/cmd/migrate").unwrap(),
            ["shop .", "migrate tools.example.org/migrate/v4/cmd/migrate"]
        );
        for (install, why) in
            [("./cmd/none", "'./cmd/none'"), ("example.org/shop/none", "none"), ("shop/cmd", "., ./cmd/web")]
        {
            let err = select(install).unwrap_err().to_string();
            assert!(err.contains("selects none of the programs") && err.contains(why), "{err}");
        }
    }
}
