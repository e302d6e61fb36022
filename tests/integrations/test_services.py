"""Each framework in a real server process, with a client of each product, against a real collector."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import aiohttp
import httpx
import pytest
from plain_http import NO_AUTHORITIES
from service_process import COMMANDS, CollectorProcess, Service

SECRET = "the secret of the webhook"
LARGE = b"x" * 100_000
# Who asks for it gets so many impressions and conversions, of the one product and of the other.
VISIT = Counter(
    {("fullstack", "user"): 2, ("fullstack", "goal"): 1, ("fme", "user"): 1, ("fme", "goal"): 1}
)


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CollectorProcess]:
    with CollectorProcess(tmp_path_factory.mktemp("collector")) as process:
        yield process


@pytest.fixture(
    scope="module",
    params=[pytest.param(one, marks=pytest.mark.xdist_group(one)) for one in COMMANDS],
)
def service(
    request: pytest.FixtureRequest,
    collector: CollectorProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    collector.reset()
    with Service(tmp_path_factory.mktemp("service"), request.param, collector) as process:
        yield process


@pytest.fixture
def web(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, trust_env=False, verify=NO_AUTHORITIES) as client:
        yield client


def ask(web: httpx.Client, path: str, agent: str, **headers: str) -> Any:
    """Return what the service answers a visitor, who is known by his agent in the ledger."""
    answer = web.get(path, headers={"User-Agent": agent, "Cookie": "visitor=Ashley", **headers})
    assert answer.status_code == 200, answer.text
    return answer.json()


def count_kinds(events: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    return Counter((one["product"], one["kind"]) for one in events)


@pytest.mark.parametrize("path", ["/visit", "/inner/visit"])
def test_a_question_is_answered_once(web: httpx.Client, service: Service, path: str) -> None:
    """Within a request a question has one answer and one impression, however often it is asked; an app within
    the app has the clients too."""
    agent = f"once {path}"
    answer = ask(web, path, agent)
    assert len(answer["variations"]) == 3
    assert set(answer["variations"]) <= {"Control", "Variation-1"}
    assert len(set(answer["variations"])) == 1
    assert answer["flags"] == [True] * 3
    assert answer["banner"] == [True] * 2
    assert answer["tracked"] and answer["event"]
    events = service.collector.wait_for_events(VISIT.total(), user_agent=agent)
    assert count_kinds(events) == VISIT


def test_another_request_asks_again(web: httpx.Client, service: Service) -> None:
    """What one request was answered is not kept for the next."""
    for _ in range(2):
        ask(web, "/visit", "again")
    events = service.collector.wait_for_events(2 * VISIT.total(), user_agent="again")
    assert count_kinds(events) == VISIT + VISIT


def test_a_user_whom_the_handler_names(web: httpx.Client, service: Service) -> None:
    """A user from the path has the agent and address of the request, and one answer for all his handles."""
    assert len(set(ask(web, "/named/Becky", "named", **{"X-Forwarded-For": "203.0.113.7"}))) == 1
    (event,) = service.collector.wait_for_events(1, user_agent="named")
    assert event["ip"] == "203.0.113.7"


ADDRESSES = [
    ({"X-Forwarded-For": "203.0.113.7"}, "203.0.113.7"),
    ({"X-Forwarded-For": "6.6.6.6, 203.0.113.7, 10.1.2.3"}, "203.0.113.7"),
    ({"X-Forwarded-For": "6.6.6.6, [2001:db8::1]:4711"}, "2001:db8::1"),
    ({"Forwarded": 'for=6.6.6.6, For="[2001:db8::2]:80";proto=https'}, "2001:db8::2"),
    ({"X-Forwarded-For": "203.0.113.7, rubbish"}, ""),
    ({"X-Forwarded-For": "203.0.113.7", "Forwarded": "for=6.6.6.6"}, ""),
    ({"Remote-Addr": "6.6.6.6", "X-Real-IP": "6.6.6.6"}, ""),
]


@pytest.mark.parametrize(("headers", "address"), ADDRESSES, ids=[str(n) for n in range(7)])
def test_an_address_comes_from_a_trusted_proxy(
    web: httpx.Client, service: Service, headers: dict[str, str], address: str
) -> None:
    """VWO gets the right-most address that is no proxy's, whatever else is in the headers, for both products."""
    agent = f"address {ADDRESSES.index((headers, address))}"
    ask(web, "/visit", agent, **headers)
    events = service.collector.wait_for_events(VISIT.total(), user_agent=agent)
    assert {(one["product"], one["ip"]) for one in events} == {
        ("fullstack", address),
        ("fme", address),
    }


def test_an_untrusted_peer_has_its_own_address(service: Service) -> None:
    """Who is no proxy cannot say that he is someone else."""
    transport = httpx.HTTPTransport(local_address="127.0.0.2")
    with httpx.Client(base_url=service.url, transport=transport) as web:
        headers = {"X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6"}
        ask(web, "/visit", "untrusted", **headers)
    events = service.collector.wait_for_events(VISIT.total(), user_agent="untrusted")
    assert {one["ip"] for one in events} == {"127.0.0.2"}


@pytest.mark.parametrize("client", ["shop", "fme"])
def test_the_webhook_refreshes_for_vwo_alone(
    web: httpx.Client, service: Service, client: str
) -> None:
    """Who has the secret has the settings fetched; nobody else has, and no large body is read."""
    # A server that answers before it has read a large body ends the connection after it.
    web.headers["Connection"] = "close"
    path = f"/{client}-webhook"
    before = service.collector.totals()["settings"]
    right = {"X-VWO-Auth": SECRET}
    assert web.post(path).status_code == 403
    assert web.post(path, headers={"X-VWO-Auth": "another"}, content=LARGE).status_code == 403
    twice = [("X-VWO-Auth", SECRET), ("X-VWO-Auth", SECRET)]
    assert web.post(path, headers=twice).status_code == 403
    assert web.post(path, headers=right, content=LARGE).status_code == 413
    assert web.post(path, headers=right, content=iter([LARGE])).status_code == 413
    assert web.get(path, headers=right).status_code == 405
    assert service.collector.totals()["settings"] == before
    assert web.post(path, headers=right, json={"event": "changed"}).status_code == 204
    assert service.collector.totals()["settings"] == before + 1
    assert service.statistics(client)["settings_origin"] == "vwo"


def test_the_webhook_says_when_vwo_is_down(web: httpx.Client, service: Service) -> None:
    """Settings that could not be fetched are not said to be fresh."""
    service.collector.answer(500, 1)
    assert web.post("/shop-webhook", headers={"X-VWO-Auth": SECRET}).status_code == 503


def find_cookie(answer: httpx.Response) -> str | None:
    found = [one for one in answer.headers.get_list("set-cookie") if one.startswith("vwo=")]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize(
    ("path", "status"), [("/cookie", 200), ("/refused", 409), ("/stream/early", 200)]
)
def test_a_decision_is_kept_in_the_cookie(
    service: Service, web: httpx.Client, path: str, status: int
) -> None:
    """What is decided before the headers are sent comes back with the browser, also on an error page."""
    errors = service.statistics("cookies")["storage_errors"]
    first = web.get(path, headers={"Cookie": "visitor=Ashley"})
    cookie = find_cookie(first)
    assert first.status_code == status
    assert cookie is not None and cookie.endswith("HttpOnly; SameSite=Lax")
    kept = {"Cookie": f"visitor=Ashley; {cookie.partition(';')[0]}"}
    again = web.get(path, headers=kept)
    assert find_cookie(again) is None
    assert again.text == first.text
    assert service.statistics("cookies")["storage_errors"] == errors


def test_a_forged_cookie_is_none(web: httpx.Client) -> None:
    """A cookie that the service did not sign counts as no cookie."""
    forged = {b"Cookie": b"visitor=Ashley; vwo=1.W10.forged; vwo; =; other=\xe9"}
    assert find_cookie(web.get("/cookie", headers=forged)) is not None


def test_a_late_decision_is_not_kept_and_says_so(service: Service, web: httpx.Client) -> None:
    """A decision within a streamed body sets no cookie, is counted and stands in the log, without the user."""
    errors = service.statistics("cookies")["storage_errors"]
    answer = web.get("/stream/late", headers={"Cookie": "visitor=Carol Danvers"})
    assert answer.text == "first,last"
    assert find_cookie(answer) is None
    assert service.statistics("cookies")["storage_errors"] == errors + 1
    log = service.wait_for_errors("the request is over, and its cookie on its way")
    assert "Carol" not in log


def test_a_handler_that_fails(service: Service, web: httpx.Client) -> None:
    """What a handler reported before it failed arrives, and the next request is served."""
    headers = {"User-Agent": "boom", "Cookie": "visitor=Ashley"}
    assert web.get("/boom", headers=headers).status_code == 500
    assert len(service.collector.wait_for_events(1, user_agent="boom")) == 1
    assert ask(web, "/visit", "after boom")["tracked"]


def test_a_websocket_is_left_alone(service: Service) -> None:
    """A websocket has a user, no cookie, and no memory: what lasts is asked anew each time."""

    async def talk() -> tuple[list[str], Any]:
        headers = {"User-Agent": "socket", "Cookie": "visitor=Ashley"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.ws_connect(f"{service.url}/ws") as socket,
        ):
            names = await socket.receive_json()
            return names, socket._response.headers.getall("set-cookie", [])

    names, cookies = asyncio.run(talk())
    assert len(names) == 2
    assert names[0] == names[1] is not None
    assert cookies == []
    assert len(service.collector.wait_for_events(2, user_agent="socket")) == 2


def test_the_own_lifespan_has_the_clients(web: httpx.Client) -> None:
    """The app's own lifespan runs within that of the clients, and gives what it gives."""
    assert "hello" in web.get("/greeting").text


def test_the_schema_is_that_of_the_service(service: Service, web: httpx.Client) -> None:
    """The dependencies add no parameters but the service's own, and the webhook is not shown."""
    if service.framework != "fastapi":
        pytest.skip("FastAPI shows it")
    paths = web.get("/openapi.json").json()["paths"]
    assert "/shop-webhook" not in paths
    assert [one["name"] for one in paths["/visit"]["get"]["parameters"]] == ["visitor"]


def visit_until_refused(url: str, numbers: Iterator[int], accepted: list[int]) -> None:
    with (
        httpx.Client(base_url=url, trust_env=False, verify=NO_AUTHORITIES) as web,
        suppress(httpx.TransportError),
    ):
        for number in numbers:
            answer = web.get("/visit", headers={"Cookie": f"visitor=u{number}"})
            if answer.status_code == 200:
                accepted.append(number)


def test_sigterm_in_traffic_loses_nothing(service: Service) -> None:
    """A service that is told to end while it is busy delivers all that both clients accepted.

    The last test of a service, which ends here.
    """
    served: list[int] = []
    numbers = count()
    visitors = [
        threading.Thread(target=visit_until_refused, args=(service.url, numbers, served))
        for _ in range(3)
    ]
    for one in visitors:
        one.start()
    while len(served) < 60 and any(one.is_alive() for one in visitors):
        time.sleep(0.01)
    service.collector.answer(503, 2)
    status = service.end()
    for one in visitors:
        one.join()
    assert status in (0, -15), service.errors
    assert "own lifespan ended" in service.output
    ledgers = service.final_statistics()
    for name in ("shop", "fme", "cookies"):
        ledger = ledgers[name]
        assert ledger["accepted"] == ledger["delivered"], name
        assert ledger["pending"] == ledger["rejected"] == 0
    received = count_kinds(service.collector.ledger())
    accepted = Counter({name: ledgers[name]["accepted"] for name in ledgers})
    assert received["fme", "user"] + received["fme", "goal"] == accepted["fme"] >= 120
    fullstack = received["fullstack", "user"] + received["fullstack", "goal"]
    assert fullstack == accepted["shop"] + accepted["cookies"]
    assert service.collector.totals()["refused"] == 0
