from django.http import HttpResponse
from django.views.decorators.csrf import csrf_exempt

from .models import Note
from .tasks import shout

RELEASE = "one"


@csrf_exempt
def page(request):
    if request.method == "POST":
        note = Note.objects.create(text=request.body.decode())
        shout.delay(note.pk)
    notes = Note.objects.order_by("pk").values_list("text", flat=True)
    return HttpResponse(" ".join([RELEASE, *notes]))
