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
    check_words(
        &World::new(&[("main.py", server)]),
        str![[r#"
exit 0
runtime  python [VERSION] (the machine's python3)
because  there is main.py, and no requirements.txt: no dependencies
process  web: python main.py (main.py)

"#]],
    );
    // A tool beside a program of another kind.
    for (name, text, runtime) in
        [("start.sh", "exec true\n", "binary"), ("server.js", "require('http')\n", "node")]
    {
        if runtime == "node" && !has_programs("a lone script", &["node"]) {
            continue;
        }
        let plan = World::new(&[("main.py", server), (name, text)]).run(&["plan", "app"]);
        let line = format!("runtime  {runtime}");
        assert!(plan.good(&[]).stdout.starts_with(&line), "{name}: {}", plan.stdout);
    }
    // Modules below `src`.
    let below =
        World::new(&[("src/blog/__init__.py", "app = Quart(__name__)\n"), ("requirements.txt", "quart\n")]);
    check_words(
        &below,
        str![[r#"
exit 0
runtime  python [VERSION] (the machine's python3)
because  there is a requirements.txt
process  web: uvicorn --app-dir src --host ${BIND_ADDRESS:-127.0.0.1} --port $PORT blog:app (src/blog/__init__.py)

"#]],
    );
    // A chat bot.
    let bot = "from telegram.ext import Application\n";
    check_words(
        &World::new(&[("bot.py", bot), ("requirements.txt", "python-telegram-bot==21.0\n")]),
        str![[r#"
exit 0
runtime  python [VERSION] (the machine's python3)
because  there is a requirements.txt
process  worker: python bot.py (bot.py)

"#]],
    );
    check_words(
        &World::new(&[("app.py", "import work\nwork.run()\n"), ("work.py", ""), ("requirements.txt", "")]),
        str![[r#"
exit 0
runtime  python [VERSION] (the machine's python3)
because  there is a requirements.txt
process  worker: python app.py (app.py)
 !     warning: app.py uses no web server that piku knows: it runs as a worker. If it listens on $PORT, add a file 'Procfile' with the line 'web: python app.py'

"#]],
    );
    let factory =
        "from flask import Flask\n\ndef create_app(test_config=None):\n    return Flask(__name__)\n";
    check_words(
        &World::new(&[("shop/__init__.py", factory), ("requirements.txt", "flask\n")]),
        str![[r#"
exit 0
runtime  python [VERSION] (the machine's python3)
because  there is a requirements.txt
process  web: gunicorn --bind ${BIND_ADDRESS:-127.0.0.1}:$PORT 'shop:create_app()' (shop/__init__.py)

"#]],
    );
    let flask = "from flask import Flask\napp = Flask(__name__)\n";
    check_words(
        &World::new(&[
            ("app.py", flask),
            ("wsgi.py", "from app import app\n"),
            ("requirements.txt", "flask\n"),
        ]),
        str![[r#"
exit 0
runtime  python [VERSION] (the machine's python3)
because  there is a requirements.txt
process  web: gunicorn --bind ${BIND_ADDRESS:-127.0.0.1}:$PORT wsgi:app (wsgi.py)

"#]],
    );
    check_words(
        &World::new(&[("app.py", flask), ("main.py", flask), ("requirements.txt", "flask\n")]),
        str![[r#"
exit 1
piku-build: this is a Python app without a Procfile, and app.py, main.py both define what could be started
hint: add a file 'Procfile' with the line of the one to start, such as 'web: gunicorn --bind ${BIND_ADDRESS:-127.0.0.1}:$PORT app:app'

"#]],
    );
    // Without its framework it cannot run.
    check_words(
        &World::new(&[("app.py", flask)]),
        str![[r#"
exit 1
piku-build: no runtime fits this app, which looks like a Python app ('app.py'): requirements.txt, or a Procfile beside app.py, is missing
found at its top: app.py
hint: a Procfile says what to start, such as 'web: python app.py'; dependencies are in requirements.txt

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
