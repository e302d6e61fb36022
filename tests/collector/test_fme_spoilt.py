"""FME: whatever stands in a request, it is accepted or refused by name, and the ledger stays readable."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
from fme_wire import FMEWire
from hypothesis import given
from hypothesis import strategies as st

from vwo_async.collector import Collector

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["1e400", "-1e400", "\ud800", "id", "vwo_x", "9" * 5000]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
CALLS = st.sampled_from(["shown", "holdout", "metric", "attributes", "started", "used", "batch"])


def list_places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the ways to everything in a JSON document."""
    below = value.items() if isinstance(value, dict) else enumerate(value)
    found: list[tuple[Any, ...]] = []
    for key, one in below:
        found.append((*path, key))
        if isinstance(one, dict | list):
            found += list_places(one, (*path, key))
    return found


@given(CALLS, st.data(), VALUES, st.booleans())
def test_any_value_in_any_place(call: str, data: st.DataObject, value: Any, strict: bool) -> None:
    """A body with one other value is answered with 200 or 400, and what is kept can be read as JSON."""
    fme = FMEWire()
    request = getattr(fme, call)()
    *way, last = data.draw(st.sampled_from(list_places(request.body)))
    owner = request.body
    for key in way:
        owner = owner[key]
    owner[last] = value
    # As a number that JSON may hold and Python takes for infinite.
    body = json.dumps(request.body).replace('"1e400"', "1e400").replace('"-1e400"', "-1e400")
    answer, ledger, report = asyncio.run(
        send(Collector(fme.settings, strict=strict), request, body)
    )

    assert answer.status_code in (200, 400)
    assert ("error" in answer.json()) == (answer.status_code == 400)
    assert (ledger.status_code, report.status_code) == (200, 200)
    kept = json.loads(ledger.text, parse_constant=refuse)["events"]
    assert len(kept) == answer.json().get("received", 0)
    json.loads(report.text, parse_constant=refuse)


def refuse(constant: str) -> None:
    """Refuse what is not JSON, although Python reads it."""
    raise AssertionError(constant)


async def send(collector: Collector, request: Any, body: str) -> list[httpx.Response]:
    """Send a request, and return the answer, the ledger and the report."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(collector), base_url="http://127.0.0.1"
    ) as client:
        return [
            await client.post(
                request.path, params=request.query, headers=request.headers, content=body
            ),
            await client.get("/collector/ledger"),
            await client.get("/collector/report"),
        ]
