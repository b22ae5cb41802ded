//! Lone `*.java` files at the top of an app, and the class among them that is the program.

use std::path::Path;

use crate::app::app_source::{AppSource, decode};

/// The file that is a program by its name.
pub(super) const MAIN: &str = "Main.java";
/// Folder with the jars that lone files use.
pub(super) const LIBRARIES: &str = "lib";

/// The Java files at the top of an app.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct JavaSources {
    /// Names of the files.
    pub(super) files: Vec<String>,
    /// The classes with a main method, with their packages: `org.example.Hello`.
    pub(super) programs: Vec<String>,
    /// True if there are jars in [`LIBRARIES`].
    pub(super) has_libraries: bool,
}

impl JavaSources {
    /// Reads the files.
    pub(super) fn read(source: &AppSource) -> anyhow::Result<Self> {
        let mut found = Self::default();
        for name in source.names_ending(&["java"]) {
            let text = decode(&source.read_bytes(name)?.unwrap_or_default());
            found.files.push(name.clone());
            if has_main(&text) {
                let class = name.trim_end_matches(".java");
                let package = text.lines().find_map(|line| line.trim().strip_prefix("package "));
                let package = package.and_then(|rest| rest.split(';').next()).map(str::trim);
                found.programs.push(match package {
                    Some(package) if !package.is_empty() => format!("{package}.{class}"),
                    _ => class.to_owned(),
                });
            }
        }
        let is_jar = |name: &Path| name.extension().is_some_and(|ending| ending == "jar");
        found.has_libraries = source.has_entry(&format!("{LIBRARIES}/"))
            && source.list(LIBRARIES)?.iter().any(|entry| is_jar(Path::new(&entry.name)));
        Ok(found)
    }

    /// Returns the class that is started: Main, or the only one with a main method.
    pub(super) fn program(&self) -> Option<&str> {
        let is_main = |class: &&String| class.rsplit('.').next().is_some_and(|name| MAIN.starts_with(name));
        match self.programs.as_slice() {
            [only] => Some(only),
            several => several.iter().find(is_main).map(String::as_str),
        }
    }

    /// Returns the command that starts a class.
    pub(super) fn command(&self, class: &str) -> String {
        let libraries = if self.has_libraries { format!(" -cp '.:{LIBRARIES}/*'") } else { String::new() };
        format!("java{libraries} {class}")
    }
}

/// Returns whether a class has a main method.
fn has_main(text: &str) -> bool {
    let code: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    code.contains("void main(") || code.contains("void main (")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_that_is_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let read = || JavaSources::read(&AppSource::read(dir.path(), None).unwrap()).unwrap();
        write("Page.java", "class Page {}\n");
        assert_eq!(read().program(), None);
        write(
            "Hello.java",
            "package org.example;\n\npublic class Hello {\n  public static void\n  main(String[] a) {}\n}\n",
        );
        assert_eq!(read().program(), Some("org.example.Hello"));
        write("Tool.java", "class Tool { public static void main(String... a) {} }\n");
        assert_eq!((read().program(), read().programs.len()), (None, 2));
        write("Main.java", "void main() {}\n");
        assert_eq!(read().program(), Some("Main"));
        assert_eq!(read().command("Main"), "java Main");
        std::fs::create_dir(dir.path().join("lib")).unwrap();
        write("lib/a.jar", "");
        assert_eq!(read().command("Main"), "java -cp '.:lib/*' Main");
    }
}
