from django.conf import settings
from django.urls import path
from django.views.static import serve
from guestbook import views

urlpatterns = [
    path("", views.index),
    path("version", views.version),
    path("health", views.health),
    path("static/<path:path>", serve, {"document_root": settings.STATIC_ROOT}),
    path("media/<path:path>", serve, {"document_root": settings.MEDIA_ROOT}),
]
