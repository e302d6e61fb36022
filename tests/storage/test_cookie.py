"""The cookie storage: sticky visitors without a database, and nothing that a visitor could forge or read."""

from __future__ import annotations

import asyncio
import json
import string
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from hypothesis import given
from hypothesis import strategies as st
from sample import campaign, variation
from sample import settings as settings_file

from vwo_async import InvalidInputError, Reason, StorageError, VWOClient
from vwo_async.storage import StoredDecision
from vwo_async.storage.cookie import BROWSER_BYTES, SKEW_S, CookieUserStorage
from vwo_async.testing import RecordingTransport
from vwo_async.transport import Answer
from vwo_async.transport import Request as Sent

TOKEN = "a secret of some length"
DAY_S = 24 * 3600
USER = "ashley@shop.test"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def record(
    user: str = USER, key: str = "checkout", name: str = "Control", **more: Any
) -> dict[str, Any]:
    """Return a record in the official shape."""
    return {"userId": user, "campaignKey": key, "variationName": name, **more}


def bake(storage: CookieUserStorage, *records: Mapping[str, Any], cookie: str | None = None) -> str:
    """Return the cookie after a request that keeps *records*."""
    with storage.request(cookie) as jar:
        for one in records:
            jar.keep(one)
    return jar.value


def read(
    storage: CookieUserStorage,
    cookie: str | bytes | None,
    user: str = USER,
    key: str = "checkout",
) -> str | None:
    """Return the name of the variation that a cookie holds."""
    with storage.request(cookie) as jar:
        found = jar.find(user, key)
    return None if found is None else found.variation_name


def content(cookie: str) -> str:
    """Return what everybody can read in a cookie."""
    payload = cookie.split(".")[1]
    return urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()


# In a web service


def weighted(first: float, second: float) -> dict[str, Any]:
    """Return a settings file in which everybody new gets the variation that weighs 100."""
    arms = [variation(1, "Control", first), variation(2, "Variation-1", second)]
    return settings_file(*(campaign(11 + n, key, variations=arms) for n, key in enumerate("AB")))


class Shop:
    """A web service whose visitors are told apart by a header, with the cookie storage alone."""

    def __init__(
        self, client: VWOClient, storage: CookieUserStorage, transport: RecordingTransport
    ) -> None:
        self.app = FastAPI()
        self.client = client
        self.storage = storage
        self.transport = transport
        self.gate = asyncio.Event()
        self.waiting = 0
        self.late: list[asyncio.Task[str | None]] = []
        self.app.middleware("http")(self.with_cookie)
        for page in (self.activate, self.track, self.convert, self.wait, self.leave_behind):
            self.app.post(f"/{page.__name__}/{{key}}")(page)

    async def with_cookie(
        self, request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        with self.storage.request(request.cookies.get(self.storage.name)) as jar:
            response = await call_next(request)
        if jar.changed:
            response.headers.append("Set-Cookie", jar.header())
        return response

    async def activate(self, key: str, request: Request) -> str | None:
        return await self.client.activate(key, request.headers["visitor"], wait=True)

    async def track(self, key: str, request: Request) -> str:
        result = await self.client.track(key, request.headers["visitor"], "signup", wait=True)
        return result[key].reason

    async def convert(self, key: str, request: Request) -> bool:
        """Track without waiting for delivery."""
        return bool(await self.client.track(key, request.headers["visitor"], "signup"))

    async def wait(self, key: str, request: Request) -> str | None:
        """Activate only when two requests are here."""
        self.waiting += 1
        if self.waiting == 2:
            self.gate.set()
        await self.gate.wait()
        return await self.activate(key, request)

    async def leave_behind(self, key: str, request: Request) -> str | None:
        """Activate, and once more for the other campaign when the response has left."""
        visitor = request.headers["visitor"]

        async def activate_late() -> str | None:
            await self.gate.wait()
            return await self.client.activate("B", visitor)

        self.late.append(asyncio.create_task(activate_late()))
        return await self.client.activate(key, visitor)


@asynccontextmanager
async def shop(
    file: dict[str, Any], transport: RecordingTransport | None = None, **options: Any
) -> AsyncIterator[Shop]:
    """A running service."""
    storage = CookieUserStorage(TOKEN, **options)
    transport = transport or RecordingTransport()
    async with VWOClient(file, user_storage=storage, transport=transport) as client:
        yield Shop(client, storage, transport)


class Browser:
    """A visitor's browser: it keeps cookies and sends them to whichever shop is asked."""

    def __init__(self, visitor: str = USER, url: str = "https://shop.test") -> None:
        self.visitor = visitor
        self.url = url
        self.cookies = httpx.Cookies()

    async def post(self, shop: Shop, path: str) -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(shop.app),
            base_url=self.url,
            cookies=self.cookies,
            headers={"visitor": self.visitor},
        ) as client:
            response = await client.post(path)
            self.cookies = client.cookies
        assert response.status_code == 200
        return response

    async def ask(self, shop: Shop, path: str) -> Any:
        return (await self.post(shop, path)).json()


@pytest.mark.anyio
async def test_a_visitor_keeps_his_variation() -> None:
    """What the first response set, later requests bring back, whatever the settings say meanwhile."""
    async with shop(weighted(100, 0)) as before, shop(weighted(0, 100)) as after:
        browser = Browser()
        assert await browser.ask(before, "/activate/A") == "Control"
        assert await browser.ask(after, "/activate/A") == "Control"
        assert await browser.ask(after, "/activate/B") == "Variation-1"
        assert await browser.ask(before, "/activate/B") == "Variation-1"
        assert await Browser().ask(after, "/activate/A") == "Variation-1"
        # Returning visitors are not reported again: one campaign here, one and the stranger there.
        assert len(before.transport.requests) == 1
        assert len(after.transport.requests) == 2


@pytest.mark.anyio
async def test_a_conversion_counts_once() -> None:
    """A goal that the cookie says was tracked is not tracked again, and only visitors who were activated."""
    async with shop(weighted(100, 0)) as one:
        browser = Browser()
        assert await browser.ask(one, "/track/A") == Reason.NOT_ACTIVATED
        await browser.post(one, "/activate/A")
        assert await browser.ask(one, "/track/A") == Reason.TRACKED
        assert await browser.ask(one, "/track/A") == Reason.ALREADY_TRACKED
        assert len(one.transport.requests) == 2


@pytest.mark.anyio
async def test_the_cookie_is_set_only_where_it_changed() -> None:
    """Reading alone sends no Set-Cookie; what is sent keeps scripts, other sites and plain http out."""
    async with shop(weighted(100, 0), max_age_s=DAY_S) as one:
        browser = Browser()
        first = await browser.post(one, "/activate/A")
        (header,) = first.headers.get_list("set-cookie")
        (morsel,) = SimpleCookie(header).values()
        assert morsel.key == "vwo"
        assert morsel.value == browser.cookies["vwo"]
        assert (morsel["path"], morsel["samesite"], morsel["domain"]) == ("/", "Lax", "")
        assert (morsel["max-age"], morsel["httponly"], morsel["secure"]) == (str(DAY_S), True, True)
        second = await browser.post(one, "/activate/A")
        assert "set-cookie" not in second.headers


@pytest.mark.anyio
async def test_secure_can_be_left_out() -> None:
    """Plain http, as in development, needs a cookie that is not secure."""
    for secure, expected in ((True, "Variation-1"), (False, "Control")):
        browser = Browser(url="http://shop.test")
        async with (
            shop(weighted(100, 0), secure=secure) as before,
            shop(weighted(0, 100), secure=secure) as after,
        ):
            await browser.post(before, "/activate/A")
            assert await browser.ask(after, "/activate/A") == expected


@pytest.mark.anyio
async def test_another_user_of_the_browser_has_no_record() -> None:
    """A record is the user's and not the browser's; both may have one in it."""
    async with shop(weighted(100, 0)) as before, shop(weighted(0, 100)) as after:
        browser = Browser()
        await browser.post(before, "/activate/A")
        browser.visitor = "bill@shop.test"
        assert await browser.ask(after, "/activate/A") == "Variation-1"
        assert await browser.ask(before, "/activate/A") == "Variation-1"
        browser.visitor = USER
        assert await browser.ask(after, "/activate/A") == "Control"


@pytest.mark.anyio
async def test_overlapping_requests_do_not_mix() -> None:
    """Two visitors whose requests overlap each get their own records, and theirs alone."""
    async with shop(weighted(100, 0)) as one:
        browsers = [Browser("ann"), Browser("bill")]
        await asyncio.gather(*(browser.post(one, "/wait/A") for browser in browsers))
        for browser, other in zip(browsers, reversed(browsers), strict=True):
            cookie = browser.cookies["vwo"]
            assert read(one.storage, cookie, browser.visitor, "A") == "Control"
            assert read(one.storage, cookie, other.visitor, "A") is None


@pytest.mark.anyio
async def test_what_comes_after_the_response_is_counted_and_lost() -> None:
    """Work that outlives its request goes on undisturbed; what it writes is a failure of the storage."""
    async with shop(weighted(100, 0)) as one:
        browser = Browser()
        assert await browser.ask(one, "/leave_behind/A") == "Control"
        assert one.client.statistics().storage_errors == 0
        cookie = browser.cookies["vwo"]
        one.gate.set()
        assert await asyncio.gather(*one.late) == ["Control"]
        assert one.client.statistics().storage_errors == 1
        assert (await browser.post(one, "/activate/A")).headers.get("set-cookie") is None
        assert read(one.storage, cookie, key="A") == "Control"
        assert read(one.storage, cookie, key="B") is None


class RefusingLate(RecordingTransport):
    """Refuses conversions, but only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def send(self, request: Sent) -> Answer:
        answer = await super().send(request)
        if "track-goal" not in request.target:
            return answer
        await self.gate.wait()
        return Answer(400)


@pytest.mark.anyio
async def test_what_fails_after_the_response_stays_marked() -> None:
    """A conversion whose event is refused when the cookie has left is not taken back, and nothing breaks."""
    transport = RefusingLate()
    async with shop(weighted(100, 0), transport) as one:
        browser = Browser()
        await browser.post(one, "/activate/A")
        assert await browser.ask(one, "/convert/A") is True
        transport.gate.set()
        await one.client.flush_events()
        assert one.client.statistics().rejected == 1
        assert await browser.ask(one, "/track/A") == Reason.ALREADY_TRACKED
        assert one.client.statistics().storage_errors == 0


@pytest.mark.anyio
async def test_what_fails_within_the_request_is_taken_back() -> None:
    """A conversion whose event is refused while the request goes on is unmarked in its cookie."""
    storage = CookieUserStorage(TOKEN)
    transport = RecordingTransport([Answer(200), Answer(400)])
    async with VWOClient(weighted(100, 0), user_storage=storage, transport=transport) as client:
        with storage.request(None) as jar:
            await client.activate("A", USER, wait=True)
            assert not await client.track("A", USER, "signup", wait=True)
            async with asyncio.timeout(5):
                while (found := jar.find(USER, "A")) is None or found.goals:
                    await asyncio.sleep(0)
    with storage.request(jar.value) as jar:
        assert jar.find(USER, "A") == StoredDecision(USER, "A", "Control")


# A storage


@pytest.mark.anyio
async def test_outside_of_a_request() -> None:
    """Without a request there is no record, and nowhere to keep one."""
    storage = CookieUserStorage(TOKEN)
    assert await storage.get(USER, "checkout") is None
    with pytest.raises(StorageError, match="no request"):
        await storage.set(record())
    with storage.request(None) as jar:
        await storage.set(record())
    assert await storage.get(USER, "checkout") is None
    assert read(storage, jar.value) == "Control"


@pytest.mark.anyio
async def test_late_calls_change_nothing() -> None:
    """A task that outlives the block finds no record and keeps none, and the jar stays as it was sent."""
    storage = CookieUserStorage(TOKEN)
    over = asyncio.Event()

    async def late() -> None:
        await over.wait()
        assert await storage.get(USER, "checkout") is None
        with pytest.raises(StorageError, match="over"):
            await storage.set(record(name="Variation-1"))

    with storage.request(None) as jar:
        await storage.set(record())
        task = asyncio.create_task(late())
    sent = jar.value
    over.set()
    await task
    assert jar.value == sent
    assert read(storage, sent) == "Control"


@pytest.mark.anyio
async def test_close_ends_a_request_early() -> None:
    """Where the body is streamed, the service says itself when the headers leave."""
    storage = CookieUserStorage(TOKEN)
    with storage.request(None) as jar:
        await storage.set(record())
        jar.close()
        with pytest.raises(StorageError, match="over"):
            await storage.set(record(key="search"))
        assert await storage.get(USER, "checkout") is None
    assert read(storage, jar.value) == "Control"


@pytest.mark.anyio
async def test_tasks_within_a_request_share_its_cookie() -> None:
    """Concurrent work for one request writes into one jar."""
    storage = CookieUserStorage(TOKEN)
    with storage.request(None) as jar:
        await asyncio.gather(*(storage.set(record(key=f"c{n}")) for n in range(10)))
    assert [read(storage, jar.value, key=f"c{n}") for n in range(10)] == ["Control"] * 10


@pytest.mark.anyio
async def test_requests_can_be_nested() -> None:
    """A request within a request, as of a mounted service, leaves the outer one in place."""
    storage, other = CookieUserStorage(TOKEN), CookieUserStorage(TOKEN, name="other")
    with storage.request(None) as outer, other.request(None) as foreign:
        with storage.request(None) as inner:
            await storage.set(record(key="inner"))
        await storage.set(record(key="outer"))
        await other.set(record(key="foreign"))
    for jar, key in ((outer, "outer"), (inner, "inner")):
        assert read(storage, jar.value, key=key) == "Control"
        assert read(storage, jar.value, key="inner" if key == "outer" else "outer") is None
    assert read(other, foreign.value, key="foreign") == "Control"


def test_a_block_may_end_in_another_context() -> None:
    """A framework that ends a block elsewhere than it began it does no harm."""
    import contextvars

    storage = CookieUserStorage(TOKEN)
    block = storage.request(None)
    jar = contextvars.copy_context().run(block.__enter__)
    jar.keep(record())
    contextvars.copy_context().run(block.__exit__, None, None, None)
    with pytest.raises(StorageError):
        jar.keep(record(key="search"))


def test_records_come_back_whole() -> None:
    """Goals and meta data survive, and what is returned is the caller's own."""
    storage = CookieUserStorage(TOKEN)
    meta_data = {"plan": "pro", "tags": ["a", {"b": None}], "größe": 1.5, "🙂": '\x00\r\n;,"'}
    row = record(goalIdentifier="signup_vwo_purchase", metaData=meta_data)
    cookie = bake(storage, row, record(key="search"))
    with storage.request(cookie) as jar:
        found = jar.find(USER, "checkout")
        assert found == StoredDecision.from_mapping(row)
        assert found is not None
        found.meta_data["tags"].append("mine")
        assert jar.find(USER, "checkout") == StoredDecision.from_mapping(row)
        assert jar.find(USER, "search") == StoredDecision(USER, "search", "Control")
        assert not jar.changed


def test_both_spellings_of_goals_are_kept() -> None:
    """Goals under the Python SDK's spelling are goals."""
    storage = CookieUserStorage(TOKEN)
    with storage.request(bake(storage, record(goalIdentifiers="signup"))) as jar:
        found = jar.find(USER, "checkout")
    assert found is not None
    assert found.goals == ("signup",)


def test_setting_the_same_again_changes_nothing() -> None:
    """A record that the browser has already is not sent again; another one replaces it."""
    storage = CookieUserStorage(TOKEN)
    cookie = bake(storage, record())
    with storage.request(cookie) as jar:
        jar.keep(record())
        assert (jar.changed, jar.value) == (False, cookie)
        jar.keep(record(name="Variation-1"))
        assert jar.changed
    assert read(storage, jar.value) == "Variation-1"


# What is not ours


def test_a_forged_or_foreign_cookie_is_no_record() -> None:
    """A cookie signed with another secret or for another name, or of another version, is worth nothing."""
    storage = CookieUserStorage(TOKEN)
    cookie = bake(storage, record())
    assert read(storage, cookie) == "Control"
    assert read(storage, cookie.encode()) == "Control"
    assert read(CookieUserStorage(TOKEN.encode()), cookie) == "Control"
    assert read(CookieUserStorage("another secret of length"), cookie) is None
    assert read(CookieUserStorage(TOKEN.encode() + b"!"), cookie) is None
    other = CookieUserStorage(TOKEN, name="other")
    assert read(other, cookie) is None
    with other.request(cookie) as jar:
        assert jar.value == ""
    _, payload, signature = cookie.split(".")
    for forged in (
        f"2.{payload}.{signature}",
        f"1.{payload}",
        f"1.{payload}.",
        f".{signature}",
        f"1..{signature}",
        f"{payload}.{signature}",
        f"{cookie}.{signature}",
        cookie[:-1],
        f"{cookie}=",
        f'"{cookie}"',
        f"{cookie} ",
        cookie + "A" * BROWSER_BYTES,
    ):
        assert read(storage, forged) is None
    with storage.request("garbage") as jar:
        assert (jar.value, jar.changed) == ("", False)


@pytest.mark.parametrize(
    "payload",
    ["", "null", "5", "[]", "{}", '["x"]', "[null]", "[NaN]", "[1800000000,5]", "\ud800", "[" * 999]
    + [f"[1800000000,{row}]" for row in ('["a"]', '[1,"b","c"]', "{}", '"abc"', "null")],
)
def test_signed_nonsense_is_no_record(payload: str) -> None:
    """Even what bears the right signature is read with care."""
    storage = CookieUserStorage(TOKEN, clock=Clock())
    from vwo_async.storage import cookie as module

    body = "1." + module._encode(payload.encode("utf-8", "surrogatepass"))
    value = f"{body}.{storage._format.keys[0].sign(body)}"
    with storage.request(value) as jar:
        assert jar.find(USER, "checkout") is None
        jar.keep(record())
    assert read(storage, jar.value) == "Control"


def test_another_version_is_no_record() -> None:
    """A cookie of a version that is not known is not read, though we signed it ourselves."""
    storage = CookieUserStorage(TOKEN)
    payload = bake(storage, record()).split(".")[1]
    for version, expected in (("1", "Control"), ("2", None), ("", None)):
        body = f"{version}.{payload}"
        assert read(storage, f"{body}.{storage._format.keys[0].sign(body)}") == expected


def test_an_oversize_cookie_is_not_even_looked_at() -> None:
    """What no browser would keep is refused by its length, whoever signed it."""
    storage = CookieUserStorage(TOKEN)
    from vwo_async.storage import cookie as module

    terms = storage._format
    digest = terms.keys[0].digest(USER)
    for padding, expected in ((2000, "Control"), (4000, None)):
        rows = [1_800_000_000, [digest, "checkout", "Control", "x" * padding]]
        body = "1." + module._encode(json.dumps(rows).encode())
        aged = CookieUserStorage(TOKEN, clock=Clock())
        assert read(aged, f"{body}.{terms.keys[0].sign(body)}") == expected


@given(cookie=st.text(st.characters(codec=None), max_size=200) | st.binary(max_size=200))
def test_any_cookie_is_answered(cookie: str | bytes) -> None:
    """Whatever a client sends, there is no record and no exception, and one can be kept."""
    storage = CookieUserStorage(TOKEN)
    with storage.request(cookie) as jar:
        assert jar.find(USER, "checkout") is None
        jar.keep(record())
    assert read(storage, jar.value) == "Control"


@given(tail=st.text(string.ascii_letters + string.digits + "-_.=", max_size=200))
def test_any_likely_cookie_is_answered(tail: str) -> None:
    """The same for what looks like one of ours."""
    assert read(CookieUserStorage(TOKEN), f"1.{tail}") is None


def test_any_change_of_one_character_is_seen() -> None:
    """Whichever character is replaced, left out or doubled: no record, and not even an equal one."""
    storage = CookieUserStorage(TOKEN)
    cookie = bake(storage, record(metaData={"plan": "pro"}))
    alphabet = string.ascii_letters + string.digits + "-_.=+/ \x00é"
    for place, character in enumerate(cookie):
        for other in alphabet.replace(character, ""):
            assert read(storage, cookie[:place] + other + cookie[place + 1 :]) is None
            assert read(storage, cookie[:place] + other + cookie[place:]) is None
        assert read(storage, cookie[:place] + cookie[place + 1 :]) is None


# Secrets


def test_secrets_can_be_rotated() -> None:
    """The old secret verifies until its cookies are signed anew, which any read of them does."""
    old, new = b"the old secret, long", b"the new secret, long"
    before, during, after = map(CookieUserStorage, ([old], [new, old], [new]))
    cookie = bake(before, record(), record("bill", name="Variation-1"))
    assert read(after, cookie) is None
    with during.request(cookie) as jar:
        assert jar.find(USER, "checkout") is not None
        assert jar.changed
    assert read(before, jar.value) is None
    assert read(after, jar.value) == "Control"
    # A record under the old secret that was not asked for still is there for as long as that is known.
    assert read(during, jar.value, "bill") == "Variation-1"
    replaced = bake(during, record(name="Variation-1"), cookie=cookie)
    assert read(during, replaced) == read(after, replaced) == "Variation-1"
    assert len(json.loads(content(replaced))) == 3


@pytest.mark.parametrize(
    "secret",
    ["", "short", b"fifteen bytes!!", [], [TOKEN, "short"], None, 5, "é" * 7, "\ud800" * 16],
    ids=repr,
)
def test_weak_secrets_are_refused(secret: Any) -> None:
    """A secret of less than 16 bytes is none."""
    with pytest.raises(InvalidInputError, match="secret"):
        CookieUserStorage(secret)


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "a=b"},
        {"name": "a;b"},
        {"name": "a\r\nb"},
        {"name": "é"},
        {"name": 5},
        {"name": "__Host-vwo", "secure": False},
        {"name": "__secure-vwo", "secure": False},
        {"max_age_s": 0},
        {"max_age_s": 1.5},
        {"max_age_s": True},
        {"max_age_s": 401 * DAY_S},
        {"max_bytes": 255},
        {"max_bytes": 4097},
    ],
    ids=repr,
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    """What browsers would refuse is refused when the service starts."""
    with pytest.raises(InvalidInputError, match=r"name|max_age_s|max_bytes"):
        CookieUserStorage(TOKEN, **options)


class Raising:
    """An object whose own code raises."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class RaisingText(str):
    """A text whose own code raises."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = None  # type: ignore[assignment]

    def encode(self, *arguments: object) -> bytes:
        raise RuntimeError


class RaisingMapping(dict[str, Any]):
    """A mapping whose own code raises."""

    def get(self, *arguments: object) -> Any:
        raise RuntimeError

    def items(self) -> Any:
        raise RuntimeError


@pytest.mark.parametrize("option", ["secret", "name", "max_bytes", "max_age_s"])
def test_options_whose_own_code_raises_are_refused(option: str) -> None:
    """What cannot be read is refused like anything else that is wrong."""
    options: dict[str, Any] = {"secret": TOKEN, option: Raising()}
    with pytest.raises(InvalidInputError):
        CookieUserStorage(**options)


@pytest.mark.anyio
async def test_what_raises_when_it_is_read_is_no_cookie_and_no_record() -> None:
    """A cookie, a key or a record whose own code raises is none."""
    storage = CookieUserStorage(TOKEN)
    odd: Any
    for odd in (Raising(), None, 1, []):
        with storage.request(odd):
            assert await storage.get(odd, "checkout") is None
            assert await storage.get("Ashley", odd) is None
    for odd in (Raising(), None, RaisingMapping(userId="Ashley"), {"userId": Raising()}):
        with storage.request(RaisingText("1.a.b")), pytest.raises(StorageError):
            await storage.set(odd)


def test_nothing_shows_a_secret_or_a_user() -> None:
    """No repr, and nothing that the visitor gets, holds the secret or the user id in any plain form."""
    storage = CookieUserStorage(TOKEN)
    with storage.request(None) as jar:
        jar.keep(record(metaData={"plan": "pro"}))
        shown = repr(storage) + repr(jar) + jar.header() + content(jar.value)
        shown += repr(storage._format) + repr(storage._format.keys)
        assert "1 record," in repr(jar)
    assert TOKEN not in shown
    for part in (USER, "ashley", USER.encode().hex()):
        assert part not in shown
    row = json.loads(content(jar.value))[1]
    assert row[1:] == ["checkout", "Control", "", {"plan": "pro"}]
    # The same user looks different to whoever has another secret, so that cookies cannot be joined.
    other = json.loads(content(bake(CookieUserStorage(TOKEN + "!"), record())))[1]
    assert row[0] != other[0]


def test_errors_hold_no_user() -> None:
    """An error of the storage tells what is wrong, and neither of whom nor through what it came."""
    storage = CookieUserStorage(TOKEN)
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    spoilt: list[Any] = [object(), float("nan"), {1, 2}, "\ud800", loop, deep, 10**5000, "x" * 4000]
    with storage.request(bake(storage, record())) as jar:
        for value in spoilt:
            with pytest.raises(StorageError) as caught:
                jar.keep(record(name="Variation-1", metaData={"value": value, "user": USER}))
            assert USER not in str(caught.value)
            assert caught.value.__cause__ is caught.value.__context__ is None
        for wrong in ({}, record(user=""), record(key=""), record(name=5)):  # type: ignore[arg-type]
            with pytest.raises(StorageError):
                jar.keep(wrong)
        assert not jar.changed
        found = jar.find(USER, "checkout")
    assert found is not None
    assert found.variation_name == "Control"


# Age and size


def test_a_cookie_ends() -> None:
    """A cookie is worth nothing once it is max_age_s old, nor where it comes from the future."""
    clock = Clock()
    storage = CookieUserStorage(TOKEN, max_age_s=DAY_S, clock=clock)
    cookie = bake(storage, record())
    signed_at = clock.now
    for age_s, expected in (
        (DAY_S - 1, "Control"),
        (DAY_S, None),
        (10 * DAY_S, None),
        # The machine that signed it may be a little ahead.
        (-SKEW_S, "Control"),
        (-SKEW_S - 1, None),
    ):
        clock.now = signed_at + age_s
        assert read(storage, cookie) == expected


def test_a_cookie_in_use_does_not_end() -> None:
    """A visitor who comes back in the second half of its life gets it signed anew, others do not."""
    clock = Clock()
    storage = CookieUserStorage(TOKEN, max_age_s=DAY_S, clock=clock)
    cookie = bake(storage, record(goalIdentifier="signup"), record(key="search"))
    for _ in range(5):
        clock.now += DAY_S / 2
        with storage.request(cookie) as jar:
            assert jar.find(USER, "checkout") is not None
            assert not jar.changed
        clock.now += DAY_S / 2 - 1
        with storage.request(cookie) as jar:
            assert jar.find("bill", "checkout") is None
            assert not jar.changed
            assert jar.find(USER, "checkout") is not None
            assert jar.changed
        cookie = jar.value
    assert read(storage, cookie, key="search") == "Control"
    clock.now += DAY_S
    assert read(storage, cookie) is None


def test_setting_the_same_again_renews() -> None:
    """A record that is written again counts for a whole life again."""
    clock = Clock()
    storage = CookieUserStorage(TOKEN, max_age_s=DAY_S, clock=clock)
    cookie = bake(storage, record())
    clock.now += DAY_S - 1
    cookie = bake(storage, record(), cookie=cookie)
    clock.now += DAY_S - 1
    assert read(storage, cookie) == "Control"


@pytest.mark.parametrize("max_bytes", [256, 1000, 3800, 4096])
def test_the_oldest_records_make_room(max_bytes: int) -> None:
    """However many campaigns there are, the cookie stays within its bound and keeps the newest."""
    storage = CookieUserStorage(TOKEN, max_bytes=max_bytes, name="name")
    cookie = ""
    for number in range(150):
        cookie = bake(storage, record(key=f"campaign {number}"), cookie=cookie)
        assert len(f"name={cookie}") <= max_bytes
    held = [n for n in range(150) if read(storage, cookie, key=f"campaign {n}")]
    assert held == list(range(held[0], 150))
    # One record more would not have fitted in.
    longest = len(json.dumps(json.loads(content(cookie))[-1])) * 4 / 3
    assert max_bytes - longest - 4 <= len(f"name={cookie}")


def test_a_record_that_is_written_again_is_new() -> None:
    """Room is made by what was written longest ago, not by what was there first."""
    storage = CookieUserStorage(TOKEN, max_bytes=256)
    cookie = bake(storage, record(key="first"), record(key="second"))
    cookie = bake(storage, record(key="first", name="Variation-1"), cookie=cookie)
    for number in range(20):
        cookie = bake(storage, record(key=f"c{number}"), cookie=cookie)
        if read(storage, cookie, key="second") is None:
            break
    assert read(storage, cookie, key="first") == "Variation-1"


def test_too_large_a_record_is_an_error() -> None:
    """One that fits into no cookie is refused, and pushes no other out."""
    storage = CookieUserStorage(TOKEN)
    with storage.request(bake(storage, record())) as jar:
        with pytest.raises(StorageError, match="too large"):
            jar.keep(record(key="search", metaData={"text": "x" * 3000}))
        assert not jar.changed
        assert jar.find(USER, "checkout") is not None


def test_a_smaller_bound_keeps_what_fits() -> None:
    """Cookies from before max_bytes was lowered are read, and shrink with the next change."""
    large, small = (CookieUserStorage(TOKEN, max_bytes=size) for size in (4096, 400))
    cookie = bake(large, *(record(key=f"c{n}") for n in range(40)))
    assert read(small, cookie, key="c0") == "Control"
    cookie = bake(small, record(key="new"), cookie=cookie)
    assert len(cookie) < 400
    assert read(small, cookie, key="new") == read(small, cookie, key="c39") == "Control"
    assert read(small, cookie, key="c0") is None


def test_a_cookie_that_cannot_be_renewed_is_still_read() -> None:
    """A record that would be too large for a lowered bound is not lost before its time."""
    clock = Clock()
    large, small = (CookieUserStorage(TOKEN, max_bytes=size, clock=clock) for size in (4096, 256))
    cookie = bake(large, record(metaData={"text": "x" * 500}))
    clock.now += 170 * DAY_S
    with small.request(cookie) as jar:
        assert jar.find(USER, "checkout") is not None
        assert (jar.changed, jar.value) == (False, cookie)


def test_header_without_records_deletes() -> None:
    """A service that sends the header always takes away what cannot be read."""
    storage = CookieUserStorage(TOKEN)
    with storage.request("garbage") as jar:
        assert not jar.changed
    morsel = SimpleCookie(jar.header())["vwo"]
    assert (morsel.value, morsel["max-age"]) == ("", "0")


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["ann", "bill"]) | names,
            st.sampled_from(["checkout", "search"]) | names,
            names,
            st.lists(names.filter(lambda one: "_" not in one), max_size=2, unique=True),
            st.dictionaries(
                names, st.none() | st.integers() | names | st.lists(names, max_size=3), max_size=3
            ),
        ),
        max_size=12,
    )
)
def test_any_records_come_back(rows: list[tuple[Any, ...]]) -> None:
    """What was kept last comes back in later requests, as far as there is room; nothing else does."""
    storage = CookieUserStorage(TOKEN)
    kept: dict[tuple[str, str], StoredDecision] = {}
    cookie = ""
    for user, key, name, goals, meta_data in rows:
        one = StoredDecision(user, key, name, tuple(goals), meta_data)
        with storage.request(cookie) as jar:
            if jar.find(user, key) != one:
                # What the cookie holds already is not written again, and grows no younger.
                kept.pop((user, key), None)
            jar.keep(one.as_dict())
        kept[user, key] = one
        cookie = jar.value
        assert len(f"vwo={cookie}") <= 3800
    with storage.request(cookie) as jar:
        found = [jar.find(*place) for place in kept]
    held = [one for one in found if one is not None]
    assert held == list(kept.values())[len(kept) - len(held) :]
    assert held or not kept
