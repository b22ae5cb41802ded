//! Apps that are a file or two, without the files of a package manager.

use piku_tests::snapshot::{file, str};

use crate::support::World;
use crate::{check_all, check_words, has_programs};

#[test]
fn a_script_for_node() {
    if !has_programs("a lone script", &["node"]) {
        return;
    }
    check_all(
        &[
            &World::new(&[("server.js", "")]),
            &World::new(&[("index.mjs", "")]),
            &World::new(&[("web.js", ""), ("Procfile", "web: node web.js\n")]),
            // The script of a page.
            &World::new(&[("app.js", ""), ("index.html", "")]),
        ],
        file!["words/a_script_for_node.txt"],
    );
}

#[test]
fn a_script_for_python() {
    if !has_programs("a lone script", &["python3"]) {
        return;
    }
    let server = "from http.server import HTTPServer, SimpleHTTPRequestHandler\nimport os\nport = int(os.environ['PORT'])\n";
    check_words(&World::new(&[("main.py", server)]), str![[r#""#]]);
    // A chat bot.
    let bot = "from telegram.ext import Application\n";
    check_words(
        &World::new(&[("bot.py", bot), ("requirements.txt", "python-telegram-bot==21.0\n")]),
        str![[r#""#]],
    );
    check_words(
        &World::new(&[("app.py", "import work\nwork.run()\n"), ("work.py", ""), ("requirements.txt", "")]),
        str![[r#""#]],
    );
    let factory =
        "from flask import Flask\n\ndef create_app(test_config=None):\n    return Flask(__name__)\n";
    check_words(&World::new(&[("shop/__init__.py", factory), ("requirements.txt", "flask\n")]), str![[r#""#]]);
    let flask = "from flask import Flask\napp = Flask(__name__)\n";
    check_words(
        &World::new(&[
            ("app.py", flask),
            ("wsgi.py", "from app import app\n"),
            ("requirements.txt", "flask\n"),
        ]),
        str![[r#""#]],
    );
    check_words(
        &World::new(&[("app.py", flask), ("main.py", flask), ("requirements.txt", "flask\n")]),
        str![[r#""#]],
    );
    // Without its framework it cannot run.
    check_words(&World::new(&[("app.py", flask)]), str![[r#""#]]);
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
    check_all(
        &[
            &World::new(&[("Hello.java", hello), ("Tool.java", tool)]),
            &World::new(&[("Tool.java", tool), ("Procfile", "web: java Tool\n")]),
            &World::new(&[("Page.java", "class Page {}\n")]),
        ],
        file!["words/classes_with_a_main_method.txt"],
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
    check_all(
        &[
            &World::new(&[("META-INF/MANIFEST.MF", boot)]),
            &World::new(&[("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")]),
        ],
        file!["words/a_jar_that_is_unpacked.txt"],
    );
}

#[test]
fn a_start_script_and_a_marked_site() {
    check_all(
        &[
            &World::new(&[("start.sh", "#!/usr/bin/env bash\n")]),
            &World::new(&[("start.sh", "exec ./x\n")]),
            &World::new(&[("Staticfile", "root: \"./web/\" # pages\n"), ("web/a.html", "")]),
            &World::new(&[("Staticfile", ""), ("a.html", "")]),
            &World::new(&[("Staticfile", ""), ("dist/index.html", "")]),
            &World::new(&[("index.html", ""), ("form.php", "")]),
        ],
        file!["words/a_start_script_and_a_marked_site.txt"],
    );
}
