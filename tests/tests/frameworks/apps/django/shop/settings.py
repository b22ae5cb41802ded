import os

import dj_database_url

SECRET_KEY = "test"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
INSTALLED_APPS = ["notes"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# As in Heroku's guide.
DATABASES = {"default": dj_database_url.config(conn_max_age=600, conn_health_checks=True, ssl_require=True)}
CELERY_BROKER_URL = os.environ.get("REDIS_URL")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
