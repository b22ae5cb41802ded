//! A Django app with a lock file and no Procfile: installed as the lock says, its static files collected, served by the server
//! that the build adds.

use piku_tests::world::World;

#[test]
fn django_app_without_procfile_is_served() {
    let world = World::new();
    let repo = world.repo("shop");
    repo.file("Pipfile", "[packages]\ndjango = \"==5.2.8\"\n")
        .file("Pipfile.lock", LOCK)
        .file("manage.py", MANAGE)
        .file("shop/__init__.py", "")
        .file("shop/settings.py", SETTINGS)
        .file("shop/urls.py", URLS)
        .file("shop/wsgi.py", WSGI)
        .file("assets/style.css", "body { color: teal }\n")
        .commit("One");

    // As on Heroku, the settings see the app's configuration in the build.
    let said = repo.push().fails_with(&[
        "-----> Python app detected: there is a Pipfile.lock",
        "Django's collectstatic failed",
        "the settings read GREETING when they are loaded",
    ]);
    assert!(said.contains("Successfully installed") && said.contains("django-5.2.8"), "{said}");

    let said = repo.file("ENV", "GREETING=hello\n").commit("Two").push().succeeds();
    assert!(said.contains("Dependencies are unchanged"), "{said}");
    assert!(said.contains("-----> Django: 1 static file copied"), "{said}");
    assert!(said.contains("shop/wsgi.py)"), "{said}");
    assert_eq!(world.page("shop"), "hello, body { color: teal }\n");
}

const LOCK: &str = r#"{
    "_meta": {
        "hash": {"sha256": "64c416a5d14002fa6c8aa7c39638e3371d9bffcb2b9714ed0eaa7745782402c0"},
        "pipfile-spec": 6,
        "requires": {},
        "sources": []
    },
    "default": {
        "asgiref": {
            "hashes": [
                "sha256:034cc8cbf72d00553b4be256703ac545120b4e50af13b49dec99da899aeeecb4",
                "sha256:f9596a2434512686473d50f96ff6207fbba49ae1a785dfac614df4aeb085674d"
            ],
            "version": "==3.13.0"
        },
        "django": {
            "hashes": [
                "sha256:23254866a5bb9a2cfa6004e8b809ec6246eba4b58a7589bc2772f1bcc8456c7f",
                "sha256:37e687f7bd73ddf043e2b6b97cfe02fcbb11f2dbb3adccc6a2b18c6daa054d7f"
            ],
            "version": "==5.2.8"
        },
        "sqlparse": {
            "hashes": [
                "sha256:3be5a72d04c873d690d7c6dedd33d6fae2ef82759881ceec02fc2efd0cba564f",
                "sha256:ca722573f848ff2d30e40ea30f53a104b7dea7635ea9285891263eb2c58fb6e7"
            ],
            "version": "==0.6.1"
        }
    },
    "develop": {}
}
"#;

const MANAGE: &str = "import os, sys
os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
";

const SETTINGS: &str = "import os
from pathlib import Path
BASE_DIR = Path(__file__).resolve().parent.parent
GREETING = os.environ['GREETING']
SECRET_KEY = 'test'
ALLOWED_HOSTS = ['*']
ROOT_URLCONF = 'shop.urls'
INSTALLED_APPS = ['django.contrib.staticfiles']
STATIC_URL = 'static/'
STATIC_ROOT = BASE_DIR / 'collected'
STATICFILES_DIRS = [BASE_DIR / 'assets']
";

const URLS: &str = "from django.conf import settings
from django.http import HttpResponse
from django.urls import path
def page(request):
    style = (settings.STATIC_ROOT / 'style.css').read_text()
    return HttpResponse(f'{settings.GREETING}, {style}')
urlpatterns = [path('', page)]
";

const WSGI: &str = "import os
from django.core.wsgi import get_wsgi_application
os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')
application = get_wsgi_application()
";
