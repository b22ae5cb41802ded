//! Apps that are a file or two, without the files of a package manager.

use piku_tests::snapshot::str;

use crate::support::World;
use crate::{check_words, has_programs};

#[test]
fn a_script_for_node() {
    if !has_programs("a lone script", &["node"]) {
        return;
    }
    check_words(
        &World::new(&[("server.js", "")]),
        str![[r#"
exit 0
runtime  node [VERSION] (the machine's own)
because  there is server.js, and no package.json: no dependencies
process  web: node server.js ('server.js', as there is no start script in package.json)

"#]],
    );
    check_words(
        &World::new(&[("index.mjs", "")]),
        str![[r#"
exit 0
runtime  node [VERSION] (the machine's own)
because  there is index.mjs, and no package.json: no dependencies
process  web: node index.mjs ('index.mjs', as there is no start script in package.json)

"#]],
    );
    check_words(
        &World::new(&[("web.js", ""), ("Procfile", "web: node web.js\n")]),
        str![[r#"
exit 0
runtime  node [VERSION] (the machine's own)
because  there is a Procfile that starts node, and no package.json: no dependencies
process  web: node web.js (Procfile)

"#]],
    );
    // The script of a page.
    check_words(
        &World::new(&[("app.js", ""), ("index.html", "")]),
        str![[r#"
exit 0
runtime  static
because  there is index.html
process  static: site (index.html)

"#]],
    );
}

#[test]
fn classes_with_a_main_method() {
    if !has_programs("lone classes", &["javac"]) {
        return;
    }
    let hello = "package org.example;\n\nclass Hello {\n    public static void main(String[] args) {}\n}\n";
    check_words(
        &World::new(&[("Hello.java", hello), ("Page.java", "class Page {}\n")]),
        str![[r#"
exit 0
runtime  java [VERSION] (the machine's java)
because  there is a Hello.java
process  web: java org.example.Hello (the class with a main method)

"#]],
    );
    let hello_world = hello.replace("{}", "{ System.out.println(Page.NAME); }");
    let world = World::new(&[
        ("Hello.java", &hello_world),
        ("Page.java", "package org.example;\n\nclass Page {\n    static final String NAME = \"page\";\n}\n"),
    ]);
    world.build("1").good(&["Process types: web (by default, from the class with a main method)"]);
    assert_eq!(world.work("1", &["java", "org.example.Hello"]).good(&[]).stdout, "page\n");
    let tool = "class Tool { public static void main(String[] args) {} }\n";
    check_words(
        &World::new(&[("Hello.java", hello), ("Tool.java", tool)]),
        str![[r#"
exit 1
piku-build: the app has no Procfile, and it is not obvious which of these classes to start: org.example.Hello, Tool
hint: add a file 'Procfile' with the line 'web: java org.example.Hello'

"#]],
    );
    check_words(
        &World::new(&[("Tool.java", tool), ("Procfile", "web: java Tool\n")]),
        str![[r#"
exit 0
runtime  java [VERSION] (the machine's java)
because  there is a Tool.java
process  web: java Tool (Procfile)

"#]],
    );
    check_words(
        &World::new(&[("Page.java", "class Page {}\n")]),
        str![[r#"
exit 1
piku-build: no runtime fits this app, which looks like a Java app ('Page.java'): pom.xml, build.gradle, build.gradle.kts, a jar or Main.java are missing
found at its top: Page.java
hint: the smallest Java app is a class with a main method at the top; one with dependencies has a pom.xml or a build.gradle

"#]],
    );
}

#[test]
fn a_jar_that_is_unpacked() {
    if !has_programs("an unpacked jar", &["java"]) {
        return;
    }
    let manifest = "Manifest-Version: 1.0\r\nClass-Path: lib/a.jar\r\nMain-Class: org.example.Hello\r\n";
    check_words(
        &World::new(&[("META-INF/MANIFEST.MF", manifest)]),
        str![[r#"
exit 0
runtime  java [VERSION] (the machine's java)
because  there is an unpacked jar: META-INF/MANIFEST.MF names a main class
process  web: java $JAVA_OPTS -cp .:lib/a.jar org.example.Hello (META-INF/MANIFEST.MF)

"#]],
    );
    let boot = "Main-Class: org.springframework.boot.loader.launch.JarLauncher\n";
    check_words(
        &World::new(&[("META-INF/MANIFEST.MF", boot)]),
        str![[r#"
exit 0
runtime  java [VERSION] (the machine's java)
because  there is an unpacked jar: META-INF/MANIFEST.MF names a main class
process  web: java -Dserver.address=${BIND_ADDRESS:-127.0.0.1} -Dserver.port=$PORT $JAVA_OPTS -cp . org.springframework.boot.loader.launch.JarLauncher (META-INF/MANIFEST.MF)

"#]],
    );
    check_words(
        &World::new(&[("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")]),
        str![[r#"
exit 1
piku-build: no runtime fits this app; looked for:
  buildpack: BUILDPACK_URL or a file .buildpacks is missing, and no buildpack of the host detects the app
  python: uv.lock, poetry.lock, Pipfile.lock, requirements.txt, Pipfile, pyproject.toml, setup.py, setup.cfg, or *.py files with a Procfile are missing
  go: go.mod, go.work or *.go files with a 'package main' are missing
  rust: Cargo.toml is missing
  java: pom.xml, build.gradle, build.gradle.kts, a jar or Main.java are missing
  ruby: Gemfile or gems.rb is missing
  node: package.json is missing
  static: index.html at the top or in public, dist, build, _site, out, www, or a Staticfile, is missing
  binary: a Procfile that starts a program or a script, or a start.sh, is missing
found at its top: META-INF/
hint: the smallest Python app is an app.py, a requirements.txt and a Procfile with the line 'web: python app.py'

"#]],
    );
}

#[test]
fn a_start_script_and_a_marked_site() {
    check_words(
        &World::new(&[("start.sh", "#!/usr/bin/env bash\n")]),
        str![[r#"
exit 0
runtime  binary
because  there is a start.sh
process  web: bash start.sh (start.sh)

"#]],
    );
    check_words(
        &World::new(&[("start.sh", "exec ./x\n")]),
        str![[r#"
exit 0
runtime  binary
because  there is a start.sh
process  web: sh start.sh (start.sh)

"#]],
    );
    check_words(
        &World::new(&[("Staticfile", "root: \"./web/\" # pages\n"), ("web/a.html", "")]),
        str![[r#"
exit 0
runtime  static
because  there is a Staticfile
process  static: web (Staticfile)

"#]],
    );
    check_words(
        &World::new(&[("Staticfile", ""), ("a.html", "")]),
        str![[r#"
exit 0
runtime  static
because  there is a Staticfile
process  static: site (Staticfile)

"#]],
    );
    check_words(
        &World::new(&[("Staticfile", ""), ("dist/index.html", "")]),
        str![[r#"
exit 0
runtime  static
because  there is a Staticfile
process  static: dist (Staticfile)

"#]],
    );
    check_words(
        &World::new(&[("index.html", ""), ("form.php", "")]),
        str![[r#"
exit 0
runtime  static
because  there is index.html
process  static: site (index.html)
 !     warning: 'form.php' is not run: the web server shows its text to every visitor

"#]],
    );
}
