import tinylib
from django.conf import settings
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render

from guestbook.models import Entry


def index(request):
    context = {"version": settings.VERSION, "library": tinylib.VERSION, "entries": Entry.objects.count()}
    return render(request, "guestbook/index.html", context)


def version(request):
    return JsonResponse({"version": settings.VERSION, "library": tinylib.VERSION})


def health(request):
    Entry.objects.exists()
    return HttpResponse("ok\n", content_type="text/plain")
