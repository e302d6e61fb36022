"""Django in one file, under WSGI or ASGI: ``gunicorn --chdir examples --preload django_shop:application``.

``python examples/django_shop.py`` asks it for a few pages, with a collector in place of VWO.
"""

from __future__ import annotations

import os
from typing import Any

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, JsonResponse
from django.urls import path

import vwo_async.sync
from vwo_async.transport import VWO_BASE_URL

GOAL = os.environ.get("SHOP_GOAL", "purchase")


def make_client() -> vwo_async.sync.VWOClient:
    """Return the client of this process."""
    base_url = os.environ.get("VWO_BASE_URL", VWO_BASE_URL)
    account_id, sdk_key = os.environ["VWO_ACCOUNT_ID"], os.environ["VWO_SDK_KEY"]
    found = vwo_async.sync.fetch_settings(account_id, sdk_key, base_url=base_url)
    return vwo_async.sync.VWOClient(found, base_url=base_url)


def make_application(vwo: vwo_async.sync.VWOClient) -> Any:
    """Return the application; its client may be made before a server forks."""

    def buy(request: HttpRequest, visitor: str) -> JsonResponse:
        result = vwo.track(None, visitor, GOAL, revenue_value=9.9)
        return JsonResponse(result.as_json())

    urlpatterns.append(path("buy/<visitor>", buy))
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"])
    django.setup()
    return WSGIHandler()


urlpatterns: list[Any] = []

if __name__ == "__main__":
    from without_loop import shown_with_collector

    with shown_with_collector() as GOAL, make_client() as client:
        make_application(client)
        from django.test import Client

        for number in range(3):
            Client().get(f"/buy/visitor{number}")
else:
    application = make_application(make_client())
