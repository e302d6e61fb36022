"""Tasks of Celery that report orders: ``celery --workdir examples -A celery_tasks worker``.

``python examples/celery_tasks.py`` has a worker run a few, with a collector in place of VWO.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import worker_process_shutdown

import vwo_async.sync
from vwo_async.transport import VWO_BASE_URL

GOAL = os.environ.get("SHOP_GOAL", "purchase")
app = Celery("shop", broker=os.environ.get("BROKER_URL", "redis://localhost"))


class Shop:
    """The client of this process, made with the first order."""

    vwo: vwo_async.sync.VWOClient | None = None


def find_client() -> vwo_async.sync.VWOClient:
    """Return the client of this process."""
    if Shop.vwo is None:
        base_url = os.environ.get("VWO_BASE_URL", VWO_BASE_URL)
        account_id, sdk_key = os.environ["VWO_ACCOUNT_ID"], os.environ["VWO_SDK_KEY"]
        found = vwo_async.sync.fetch_settings(account_id, sdk_key, base_url=base_url)
        Shop.vwo = vwo_async.sync.VWOClient(found, base_url=base_url)
    return Shop.vwo


@app.task  # type: ignore[untyped-decorator]
def buy(visitor: str, goal: str = GOAL, revenue: float = 9.9) -> bool:
    """Report an order."""
    return bool(find_client().track(None, visitor, goal, revenue_value=revenue))


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def close_vwo(**_: Any) -> None:
    """Deliver what is pending before a process of the pool ends."""
    if Shop.vwo is not None:
        Shop.vwo.close()


if __name__ == "__main__":
    from celery.contrib.testing.worker import start_worker
    from without_loop import shown_with_collector

    app.conf.update(broker_url="memory://", result_backend="cache+memory://")
    with shown_with_collector() as shown_goal:
        with start_worker(app, perform_ping_check=False):
            sent = [buy.delay(f"visitor {number}", shown_goal) for number in range(3)]
            for one in sent:
                one.get(timeout=10)
        close_vwo()
