import os

from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy

RELEASE = "one"
app = Flask(__name__)
# As in Heroku's guide: SQLAlchemy does not know the scheme `postgres`.
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"].replace("postgres://", "postgresql://", 1)
app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_pre_ping": True}
db = SQLAlchemy(app)


class Note(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    text = db.Column(db.Text, nullable=False)


@app.route("/", methods=["GET", "POST"])
def page():
    if request.method == "POST":
        db.session.add(Note(text=request.get_data(as_text=True)))
        db.session.commit()
    notes = db.session.scalars(db.select(Note.text).order_by(Note.id))
    return " ".join([RELEASE, *notes])
