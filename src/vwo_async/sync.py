"""Clients for code without a running event loop: Django and Flask under WSGI, Celery, rq, scripts, notebooks.

They have the methods and options of the async clients, without ``await``::

    settings = vwo_async.sync.fetch_settings(account_id, sdk_key)
    client = vwo_async.sync.VWOClient(settings)  # for the whole process
    variation = client.activate("checkout", user_id)
    result = client.track("checkout", user_id, "purchase", revenue_value=49.9)

`VWOClient` gives a `UserHandle`, `FMEClient` an `FMEUserHandle`. `fetch_settings`, `fetch_fme_settings` and
`load_settings` get the settings.

A client may be made before a fork and used after it, may be used from any thread, and delivers what is
pending when the process ends.
"""

from ._home import rehome as _rehome
from ._sync.fetch import fetch_fme_settings, fetch_settings, load_settings
from ._sync.fme import FMEClient, FMEUserHandle
from ._sync.fullstack import UserHandle, VWOClient

__all__ = [
    "FMEClient",
    "FMEUserHandle",
    "UserHandle",
    "VWOClient",
    "fetch_fme_settings",
    "fetch_settings",
    "load_settings",
]

_rehome(globals())
