//! The default command of a Python app: gunicorn for a WSGI callable, uvicorn for an ASGI one, streamlit for
//! a script of it, and Python itself for any other script.

use std::collections::BTreeMap;

use super::callable_search::{self, FoundCallable, SRC};
use crate::app::app_source::AppSource;
use crate::errors;

/// The WSGI server.
pub(super) const WSGI: &str = "gunicorn";
/// The ASGI server.
pub(super) const ASGI: &str = "uvicorn";

/// Scripts that start an app which has no callable, the commonest names first.
const SCRIPTS: [&str; 9] =
    ["main.py", "app.py", "server.py", "run.py", "bot.py", "index.py", "start.py", "hello.py", "__main__.py"];
/// Modules and packages of chat bots, which ask for messages and listen on no port.
const BOTS: [&str; 10] = [
    "telegram",
    "telebot",
    "aiogram",
    "telethon",
    "pyrogram",
    "discord",
    "nextcord",
    "disnake",
    "python-telegram-bot",
    "pytelegrambotapi",
];
/// Modules and packages that serve HTTP from a script.
const SERVERS: [&str; 26] = [
    "http.server",
    "wsgiref",
    "socketserver",
    "aiohttp",
    "tornado",
    "flask",
    "fastapi",
    "starlette",
    "quart",
    "sanic",
    "uvicorn",
    "hypercorn",
    "waitress",
    "cheroot",
    "cherrypy",
    "bottle",
    "gunicorn",
    "gevent",
    "pyramid",
    "websockets",
    "gradio",
    "nicegui",
    "dash",
    "microdot",
    "panel",
    "robyn",
];
/// The library of pages that a script shows by itself, whose port it has from variables of its own.
const GRADIO: &str = "gradio";

/// The process that a Python app without a Procfile starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DefaultProcess {
    /// `web`, or `worker` for a script that serves nothing.
    pub(super) name: &'static str,
    pub(super) command: String,
    /// The file that decides.
    pub(super) file: String,
    /// Nothing shows whether it is to get requests.
    pub(super) is_doubtful: bool,
}

/// Returns the command that serves a callable.
pub(super) fn serve(found: &FoundCallable) -> String {
    let command = serve_by(found.server, &found.callable);
    let option = if found.server == ASGI { "--app-dir src" } else { "--pythonpath src" };
    match command.strip_prefix(found.server) {
        Some(rest) if found.is_below_src => format!("{} {option}{rest}", found.server),
        _ => command,
    }
}

/// Returns the command that serves a callable, `app:app` or `app:create_app()`, by one of the servers.
pub(super) fn serve_by(server: &str, callable: &str) -> String {
    let host = "${BIND_ADDRESS:-127.0.0.1}";
    match server {
        callable_search::STREAMLIT => format!(
            "{server} run {callable} --server.address {host} --server.port $PORT --server.headless true --browser.gatherUsageStats false"
        ),
        ASGI => match callable.strip_suffix("()") {
            Some(factory) => format!("{server} --factory --host {host} --port $PORT {factory}"),
            None => format!("{server} --host {host} --port $PORT {callable}"),
        },
        _ if callable.contains(['(', ')']) => {
            format!("{server} --bind {host}:$PORT {}", shell_words::quote(callable))
        }
        _ => format!("{server} --bind {host}:$PORT {callable}"),
    }
}

/// Finds what an app without a Procfile starts. `packages` are its dependencies.
///
/// # Errors
/// Fails if nothing or more than one thing does.
pub(super) fn find(
    source: &AppSource,
    packages: &BTreeMap<String, String>,
) -> anyhow::Result<DefaultProcess> {
    let mut found = callable_search::find(source)?;
    if found.is_empty() {
        if let Some(script) = find_script(source, packages, "")? {
            return Ok(script);
        }
        found = callable_search::find_below(source)?;
    }
    if let [one] = found.as_slice() {
        return Ok(DefaultProcess {
            name: "web",
            command: serve(one),
            file: one.file.clone(),
            is_doubtful: false,
        });
    }
    if let [first, ..] = found.as_slice() {
        let files: Vec<_> = found.iter().map(|found| found.file.as_str()).collect();
        return Err(errors::python::several_callables(&files, &serve(first)).into());
    }
    find_script(source, packages, SRC)?.ok_or_else(|| errors::python::no_process_types().into())
}

/// Finds the script in `folder`, `src/` or the top, of an app that has no callable.
pub(super) fn find_script(
    source: &AppSource,
    packages: &BTreeMap<String, String>,
    folder: &str,
) -> anyhow::Result<Option<DefaultProcess>> {
    let mut scripts = SCRIPTS.into_iter().map(|name| format!("{folder}{name}"));
    let Some(file) = scripts.find(|file| source.tree.is_file(file)) else { return Ok(None) };
    let text = source.read_bytes(&file)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let uses = |names: &[&str]| names.iter().any(|name| packages.contains_key(*name) || imports(&text, name));
    let is_bot = uses(&BOTS);
    // `SUPPORT_CHAT` is another word.
    let is_port = |word: &str| word == "PORT";
    let is_web =
        text.split(|c: char| !c.is_alphanumeric() && c != '_').any(is_port) || !is_bot && uses(&SERVERS);
    let command = if uses(&[GRADIO]) {
        format!(
            "env GRADIO_SERVER_NAME=${{BIND_ADDRESS:-127.0.0.1}} GRADIO_SERVER_PORT=$PORT GRADIO_ANALYTICS_ENABLED=False python {file}"
        )
    } else {
        format!("python {file}")
    };
    let name = if is_web { "web" } else { "worker" };
    Ok(Some(DefaultProcess { name, command, file, is_doubtful: !is_web && !is_bot }))
}

/// Returns whether the text of a file imports a module.
pub(super) fn imports(text: &str, module: &str) -> bool {
    text.lines().map(str::trim_start).any(|line| {
        let rest = line.strip_prefix("import ").or_else(|| line.strip_prefix("from "));
        let names = rest.unwrap_or_default().split(" import ").next().unwrap_or_default();
        names.split([',', ' ']).any(|name| {
            name.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn find_in(files: &[(&str, &str)], packages: &[&str]) -> String {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let packages = packages.iter().map(|name| ((*name).to_owned(), String::new())).collect();
        match find(&AppSource::read(dir.path(), None).unwrap(), &packages) {
            Ok(DefaultProcess { name, command, .. }) => {
                format!("{name}: {}", command.replace("${BIND_ADDRESS:-127.0.0.1}", "HOST"))
            }
            Err(err) => err.to_string(),
        }
    }

    #[test]
    fn servers_of_callables() {
        let flask = "from flask import Flask\napp = Flask(__name__)\n";
        assert_eq!(find_in(&[("app.py", flask)], &[]), "web: gunicorn --bind HOST:$PORT app:app");
        assert_eq!(
            find_in(&[("app.py", flask), ("main.py", flask)], &[]),
            "this is a Python app without a Procfile, and app.py, main.py both define what could be started"
        );
        let factory = "from flask import Flask\ndef create_app(config=None):\n    return Flask(__name__)\n";
        assert_eq!(
            find_in(&[("shop/__init__.py", factory)], &[]),
            "web: gunicorn --bind HOST:$PORT 'shop:create_app()'"
        );
        let needs = "from flask import Flask\ndef create_app(\n    config,\n    debug=False,\n):\n    return Flask(__name__)\n";
        assert!(find_in(&[("shop/__init__.py", needs)], &[]).contains("not obvious what to start"));
        let optional = needs.replace("config,", "config=None,");
        assert!(find_in(&[("shop/__init__.py", &optional)], &[]).ends_with("'shop:create_app()'"));
        let factory = "from fastapi import FastAPI\ndef create_app() -> FastAPI:\n    return FastAPI()\n";
        assert_eq!(
            find_in(&[("main.py", factory)], &[]),
            "web: uvicorn --factory --host HOST --port $PORT main:create_app"
        );
        assert!(
            find_in(&[("streamlit_app.py", "import streamlit as st\n")], &[])
                .starts_with("web: streamlit run streamlit_app.py --server.address HOST ")
        );
    }

    #[test]
    fn callables_and_scripts_below_src() {
        let below = |name: &str, text: &str| find_in(&[(name, text), ("util.py", "")], &[]);
        assert_eq!(
            below("src/blog/__init__.py", "app = Quart(__name__)\n"),
            "web: uvicorn --app-dir src --host HOST --port $PORT blog:app"
        );
        assert_eq!(
            below("src/shop/wsgi.py", "app = Flask(__name__)\n"),
            "web: gunicorn --pythonpath src --bind HOST:$PORT shop.wsgi:app"
        );
        assert_eq!(below("src/bot.py", "import discord\n"), "worker: python src/bot.py");
        let flask = "app = Flask(__name__)\n";
        let script =
            [("main.py", "from src.shop import app\napp.run(PORT)\n"), ("src/shop/__init__.py", flask)];
        assert_eq!(find_in(&script, &[]), "web: python main.py", "a script at the top comes first");
    }

    #[test]
    fn factories_of_the_procfile() {
        let served = |callable| serve_by(WSGI, callable).replace("${BIND_ADDRESS:-127.0.0.1}", "HOST");
        assert_eq!(served("app:app"), "gunicorn --bind HOST:$PORT app:app");
        assert_eq!(served("app:create_app()"), "gunicorn --bind HOST:$PORT 'app:create_app()'");
        assert_eq!(served("app:make('x')"), r"gunicorn --bind HOST:$PORT 'app:make('\''x'\'')'");
    }

    #[test]
    fn scripts_of_apps_without_a_callable() {
        for (text, packages, expected) in [
            ("import os\nlisten(os.environ['PORT'])\n", &[][..], "web: python main.py"),
            (
                "import discord, os\nchat = os.environ['SUPPORT_CHAT'], REPORT_ID\n",
                &[],
                "worker: python main.py",
            ),
            ("import discord, os\nstart_server(f'{PORT}')\n", &[], "web: python main.py"),
            ("from http.server import HTTPServer\n", &[], "web: python main.py"),
            ("from shop import serve\nserve()\n", &["aiohttp"], "web: python main.py"),
            ("import aiogram, asyncio\n", &["aiogram", "aiohttp"], "worker: python main.py"),
            ("from telegram.ext import Application\n", &["python-telegram-bot"], "worker: python main.py"),
            ("import flaskless\nprint('hello')\n", &[], "worker: python main.py"),
            (
                "import gradio as gr\n",
                &["gradio"],
                "web: env GRADIO_SERVER_NAME=HOST GRADIO_SERVER_PORT=$PORT GRADIO_ANALYTICS_ENABLED=False python main.py",
            ),
        ] {
            assert_eq!(find_in(&[("main.py", text), ("util.py", "")], packages), expected, "{text}");
        }
        assert_eq!(find_in(&[("bot.py", "import discord\n")], &[]), "worker: python bot.py");
        assert!(find_in(&[("util.py", "PORT = 1\n")], &[]).contains("not obvious what to start"));
    }
}
