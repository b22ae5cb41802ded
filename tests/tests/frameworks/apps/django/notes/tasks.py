from celery import shared_task

from .models import Note


@shared_task
def shout(key):
    note = Note.objects.get(pk=key)
    note.text = note.text.upper()
    note.save()
