use super::*;
use std::fs;

fn find_in(files: &[(&str, &str)]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let source = AppSource::read(dir.path(), None).unwrap();
    let mut found = find(&source).unwrap();
    if found.is_empty() {
        found = find_below(&source).unwrap();
    }
    found.iter().map(|found| format!("{} {}", found.server, found.callable)).collect()
}

#[test]
fn constructors() {
    for (file, text, expected) in [
        ("app.py", "app = Flask(__name__)\n", "gunicorn app:app"),
        ("app.py", "app = flask.Flask(\n    __name__)\n", "gunicorn app:app"),
        ("server.py", "api = falcon.App()\n", "gunicorn server:api"),
        ("server.py", "api = falcon.asgi.App()\n", "uvicorn server:api"),
        ("api/index.py", "app = Flask(__name__)\n", "gunicorn api.index:app"),
        ("shop/__init__.py", "app = Flask(__name__)\n", "gunicorn shop:app"),
        ("main.py", "app, rt = fast_app()\n", "uvicorn main:app"),
        ("app.py", "app = Dash(__name__)\nserver = app.server\n", "gunicorn app:server"),
        ("app/main.py", "app: FastAPI = FastAPI()\n", "uvicorn app.main:app"),
        ("main.py", "app = FastAPI()\nother = FastAPI()\n", "uvicorn main:app"),
        ("Home.py", "import streamlit as st\n", "streamlit Home.py"),
    ] {
        assert_eq!(find_in(&[(file, text)]), [expected], "{file}: {text}");
    }
    for (file, text) in [
        ("app.py", "def main():\n    app = Flask(__name__)\n"),
        ("app.py", "print('hello')\n"),
        ("app.py", "one = FastAPI()\nother = FastAPI()\n"),
        ("app.py", "app = MyFlask(__name__)\n"),
        ("shop/views.py", "app = Flask(__name__)\n"),
        ("app.py", "from shop import app\n"),
        ("app.py", "def create_app(config):\n    return Flask(__name__)\n"),
    ] {
        assert!(find_in(&[(file, text)]).is_empty(), "{file}: {text}");
    }
    let django = "application = get_wsgi_application()\n";
    let found = find_in(&[("manage.py", ""), ("site/wsgi.py", django), ("static/x", "")]);
    assert_eq!(found, ["gunicorn site.wsgi:application"]);
}

#[test]
fn modules_of_packages_and_below_src() {
    let quart = "app = Quart(__name__)\n";
    for (file, text, expected) in [
        ("src/blog/__init__.py", quart, "uvicorn blog:app"),
        ("src/blog/__init__.py", "def create_app():\n    return Quart('x')\n", "uvicorn blog:create_app()"),
        ("src/main.py", "app = FastAPI()\n", "uvicorn main:app"),
        ("src/main.py", "from src.db import x\napp = FastAPI()\n", "uvicorn src.main:app"),
        ("src/shop/main.py", "app = FastAPI()\n", "uvicorn shop.main:app"),
        ("shop/main.py", "app = FastAPI()\n", "uvicorn shop.main:app"),
        ("src/app.py", "import streamlit\n", "streamlit src/app.py"),
    ] {
        assert_eq!(find_in(&[(file, text)]), [expected], "{file}: {text}");
    }
    let package = [("src/__init__.py", ""), ("src/main.py", "app = FastAPI()\n")];
    assert_eq!(find_in(&package), ["uvicorn src.main:app"]);
    let both = [("src/blog/__init__.py", quart), ("src/shop/__init__.py", quart)];
    assert_eq!(find_in(&both), ["uvicorn blog:app", "uvicorn shop:app"]);
    assert!(find_in(&[("src/blog/db.py", quart), ("src/x", "")]).is_empty());
}

#[test]
fn entries_come_before_constructors() {
    let flask = "app = Flask(__name__)\n";
    for (text, expected) in [
        ("from app import app\n", "gunicorn wsgi:app"),
        ("from app import app as application\n", "gunicorn wsgi:application"),
        ("from app import create_app\n\napp = create_app()\n", "gunicorn wsgi:app"),
        ("from app import other\n", "gunicorn app:app"),
    ] {
        assert_eq!(find_in(&[("app.py", flask), ("wsgi.py", text)]), [expected], "{text}");
    }
    let fast = [("shop/__init__.py", "app = FastAPI()\n"), ("wsgi.py", "from shop import app\n")];
    assert_eq!(find_in(&fast), ["uvicorn wsgi:app"]);
}

#[test]
fn the_module_that_flask_app_names() {
    let blog = ("blog.py", "from app import create_app\napp = create_app()\n");
    let factory = ("app/__init__.py", "def create_app(test=None):\n    return Flask(__name__)\n");
    for (setting, text, expected) in [
        (".flaskenv", "FLASK_DEBUG=1\nexport FLASK_APP='blog.py'\n", "gunicorn blog:app"),
        ("ENV", "FLASK_APP=blog\n", "gunicorn blog:app"),
        ("ENV", "FLASK_APP=app:create_app()\n", "gunicorn app:create_app()"),
        ("ENV", "FLASK_APP=app\n", "gunicorn app:create_app()"),
        ("ENV", "FLASK_APP=missing\n", "gunicorn app:create_app()"),
        ("ENV", "FLASK_APP=app:create_app('x;y')\n", "gunicorn app:create_app()"),
    ] {
        assert_eq!(find_in(&[blog, factory, (setting, text)]), [expected], "{text}");
    }
}
