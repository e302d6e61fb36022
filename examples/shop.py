"""A small shop whose pages are tested with VWO: FastAPI, and one `VWOClient` for the process.

Run it with ``uvicorn --app-dir examples shop:app``. The same shop for an account of VWO FME is in
``fme_shop.py``. Both are configured by environment variables:

========================  =========================================================================
``VWO_ACCOUNT_ID``        The VWO account. Required.
``VWO_SDK_KEY``           The key of the environment in VWO. Required.
``VWO_BASE_URL``          VWO's address; by default VWO's own host.
``SHOP_DELIVERY``         ``background`` (default): ``track`` answers once a conversion is queued.
                          ``await``: ``track`` answers once VWO has received it.
``SHOP_USER_STORAGE``     ``memory``: visitors keep their variations, and conversions count once.
                          ``off`` (default): variations follow from the visitor's id alone.
``SHOP_STATISTICS_FILE``  File for the final answer of ``GET /statistics``, as JSON.
========================  =========================================================================
"""

from __future__ import annotations

import json
import os
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from time import perf_counter_ns
from types import TracebackType
from typing import Annotated, Any, NamedTuple, Self, TypedDict
from uuid import uuid4

from fastapi import APIRouter, Cookie, Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, PositiveInt

import vwo_async
from vwo_async import FMEClient, VWOClient
from vwo_async.storage import MemoryUserStorage
from vwo_async.transport import VWO_BASE_URL

PRODUCTS: Mapping[str, Decimal] = {
    "mug": Decimal("12.90"),
    "teapot": Decimal("39.50"),
    "kettle": Decimal("64.00"),
}
BANNERS = ("spring_banner", "shipping_banner", "loyalty_banner")
"""Mutually exclusive campaigns: VWO gives each visitor at most one of them."""

MAX_SPANS = 50_000


# Configuration


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration from the environment; see the top of this file."""

    account_id: str
    sdk_key: str = field(repr=False)
    base_url: str
    awaits_delivery: bool
    keeps_visitors: bool
    statistics_file: Path | None

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Config:
        """Read the environment.

        Raises:
            ValueError: A variable is missing or has a value that it cannot have.
        """
        path = environ.get("SHOP_STATISTICS_FILE")
        return cls(
            account_id=_require(environ, "VWO_ACCOUNT_ID"),
            sdk_key=_require(environ, "VWO_SDK_KEY"),
            base_url=environ.get("VWO_BASE_URL", VWO_BASE_URL),
            awaits_delivery=_choose(environ, "SHOP_DELIVERY", ("background", "await")) == "await",
            keeps_visitors=_choose(environ, "SHOP_USER_STORAGE", ("off", "memory")) == "memory",
            statistics_file=Path(path) if path else None,
        )


def _require(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name)
    if not value:
        raise ValueError(f"{name} is not set")
    return value


def _choose(environ: Mapping[str, str], name: str, allowed: Sequence[str]) -> str:
    """Return the value of a variable; if it is not set, the first allowed value."""
    value = environ.get(name, allowed[0])
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}")
    return value


# Timing


class Stopwatch:
    """Adds up the time spent inside it: ``with stopwatch: ...``, as often as needed."""

    __slots__ = ("_started_ns", "elapsed_ns")

    def __init__(self) -> None:
        self.elapsed_ns = 0
        self._started_ns = 0

    def __enter__(self) -> Self:
        self._started_ns = perf_counter_ns()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.elapsed_ns += perf_counter_ns() - self._started_ns


class Span(NamedTuple):
    """The time of one request, in SDK calls and in total."""

    sdk_ns: int
    handler_ns: int


class Timing:
    """The latest requests of each handler."""

    def __init__(self) -> None:
        self._spans: defaultdict[str, deque[Span]] = defaultdict(lambda: deque(maxlen=MAX_SPANS))

    def add(self, handler: str, span: Span) -> None:
        """Add a request; forget the oldest one if there are too many."""
        self._spans[handler].append(span)

    def summarise(self) -> dict[str, Any]:
        """Return the number of requests and their percentiles in microseconds, by handler."""
        return {
            handler: {
                "requests": len(spans),
                "sdk_us": _percentiles([span.sdk_ns for span in spans]),
                "handler_us": _percentiles([span.handler_ns for span in spans]),
            }
            for handler, spans in self._spans.items()
        }


def _percentiles(times_ns: Sequence[int]) -> dict[str, float]:
    """Return the 50th and 99th percentile of a non-empty sequence, in microseconds."""
    in_order = sorted(times_ns)
    ranks = {"p50": 0.50, "p99": 0.99}
    return {
        name: round(in_order[min(int(len(in_order) * rank), len(in_order) - 1)] / 1000, 1)
        for name, rank in ranks.items()
    }


class TimedRoute(APIRoute):
    """Measures each request, from parsing to answer, and gives it a `Stopwatch` for SDK calls."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler of this route, measured."""
        handle = super().get_route_handler()

        async def handle_timed(request: Request) -> Response:
            stopwatch = request.state.stopwatch = Stopwatch()
            started_ns = perf_counter_ns()
            response = await handle(request)
            timing: Timing = request.state.timing
            timing.add(self.name, Span(stopwatch.elapsed_ns, perf_counter_ns() - started_ns))
            return response

        return handle_timed


# Life


class State(TypedDict):
    """The contents of ``request.state``."""

    client: VWOClient
    timing: Timing


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[State]:
    """Fetch the settings file, and keep one client open while the shop is running.

    A shop that cannot have its settings does not start, so that a deployment stops there.
    """
    config = Config.read(os.environ)
    settings = await vwo_async.fetch_settings(
        config.account_id, config.sdk_key, base_url=config.base_url
    )
    timing = Timing()
    async with VWOClient(
        settings,
        base_url=config.base_url,
        user_storage=MemoryUserStorage() if config.keeps_visitors else None,
        return_promise_for={"track": config.awaits_delivery},
        # Enough for the last events, and less than orchestrators wait before they kill a process.
        close_timeout_s=15.0,
    ) as client:
        yield {"client": client, "timing": timing}
    if config.statistics_file is not None:
        write_statistics(config.statistics_file, client, timing)


def describe(client: VWOClient | FMEClient, timing: Timing) -> dict[str, Any]:
    """Return the ledger of the client and the times of the handlers, ready for JSON."""
    return {"statistics": client.statistics().as_json(), "timing": timing.summarise()}


def write_statistics(path: Path, client: VWOClient | FMEClient, timing: Timing) -> None:
    """Write what `describe` returns to a file."""
    path.write_text(json.dumps(describe(client, timing)), encoding="utf-8")


# Visitors


class Facts(TypedDict):
    """What the SDK gets about a visitor, besides the id."""

    custom_variables: Mapping[str, str]
    user_agent: str | None
    user_ip_address: str | None


@dataclass(frozen=True, slots=True)
class Visit:
    """Who a request is from.

    Attributes:
        visitor_id: By cookie, header or body: not checked here, since the SDK takes no harm from
            anything that may stand there. The page just goes on without an experiment.
        facts: For segments and reports.
        stopwatch: Runs while the SDK is asked.
    """

    visitor_id: Any
    facts: Facts
    stopwatch: Stopwatch

    @property
    def variables(self) -> Mapping[str, str]:
        """The custom variables for pre-segmentation."""
        return self.facts["custom_variables"]

    def named(self, visitor_id: Any) -> Visit:
        """Return the visit with the visitor id from the body, if there is one."""
        return self if visitor_id is None else replace(self, visitor_id=visitor_id)


async def read_visit(
    request: Request,
    response: Response,
    visitor: Annotated[str | None, Cookie()] = None,
    x_visitor_id: Annotated[str | None, Header()] = None,
    user_agent: Annotated[str | None, Header()] = None,
    x_country: Annotated[str | None, Header()] = None,
    country: str | None = None,
    plan: str | None = None,
) -> Visit:
    """Return who a request is from; a visitor without an id gets one in a cookie.

    The country is that of the query, else the one that a CDN puts into a header.
    """
    visitor_id = x_visitor_id or visitor
    if not visitor_id:
        visitor_id = uuid4().hex
        response.set_cookie("visitor", visitor_id, max_age=31_536_000, httponly=True)
    given = {"country": country or x_country, "plan": plan}
    facts = Facts(
        custom_variables={name: value for name, value in given.items() if value is not None},
        user_agent=user_agent,
        user_ip_address=None if request.client is None else request.client.host,
    )
    return Visit(visitor_id, facts, request.state.stopwatch)


async def get_client(request: Request) -> VWOClient:
    """Return the client of this process."""
    client: VWOClient = request.state.client
    return client


VisitDependency = Annotated[Visit, Depends(read_visit)]
ClientDependency = Annotated[VWOClient, Depends(get_client)]


# Pages


class Banner(BaseModel):
    """The banner of a page, and its variation."""

    campaign: str
    variation: str


class Recommendation(BaseModel):
    """What is shown below a product."""

    headline: str
    count: int
    discount: float


class ProductPage(BaseModel):
    """A product page."""

    product: str
    price: Decimal
    button: str
    banner: Banner | None
    recommendation: Recommendation | None
    search_results: int


class Form(BaseModel):
    """The body of a form. Apps have no cookies, so they send the visitor id here."""

    visitor_id: Any = None


class CartForm(Form):
    """A number of each product."""

    items: dict[str, PositiveInt]


class Thanks(BaseModel):
    """The answer to a form; *tracked* says for each campaign whether the conversion counts."""

    message: str
    tracked: dict[str, bool]


pages = APIRouter(route_class=TimedRoute)


@pages.get("/products/{product}")
async def show_product(
    product: str, visit: VisitDependency, client: ClientDependency
) -> ProductPage:
    """Show a product; three tests and a rollout decide about parts of the page."""
    if product not in PRODUCTS:
        raise HTTPException(404)
    with visit.stopwatch:
        button = await client.activate("checkout_button", visit.visitor_id, **visit.facts)
        banner = await choose_banner(client, visit)
        recommendation = await choose_recommendation(client, visit)
        search_results = await choose_search_results(client, visit)
    return ProductPage(
        product=product,
        price=PRODUCTS[product],
        button=button or "Control",
        banner=banner,
        recommendation=recommendation,
        search_results=search_results,
    )


async def choose_banner(client: VWOClient, visit: Visit) -> Banner | None:
    """Return the banner of the one campaign that the visitor is in."""
    for key in BANNERS:
        variation = await client.activate(key, visit.visitor_id, **visit.facts)
        if variation is not None:
            return Banner(campaign=key, variation=variation)
    return None


async def choose_recommendation(client: VWOClient, visit: Visit) -> Recommendation | None:
    """Return the recommendation; its texts and numbers are feature variables."""
    key = "recommendations"
    if not await client.is_feature_enabled(key, visit.visitor_id, **visit.facts):
        return None
    values = {
        name: await client.get_feature_variable_value(
            key, name, visit.visitor_id, custom_variables=visit.variables
        )
        for name in ("headline", "count", "discount")
    }
    return Recommendation.model_validate(values)


async def choose_search_results(client: VWOClient, visit: Visit) -> int:
    """Return how many results the search shows: more where the new one is rolled out."""
    if not await client.is_feature_enabled("fast_search", visit.visitor_id, **visit.facts):
        return 10
    results = await client.get_feature_variable_value(
        "fast_search", "results", visit.visitor_id, custom_variables=visit.variables
    )
    return int(results or 10)


@pages.post("/signup")
async def sign_up(form: Form, visit: VisitDependency, client: ClientDependency) -> Thanks:
    """Sign up for the newsletter: a conversion of every campaign that has this goal.

    What is known of the new member goes with it, as custom dimensions to slice the reports by.
    """
    visit = visit.named(form.visitor_id)
    with visit.stopwatch:
        result = await client.track(None, visit.visitor_id, "signup", **visit.facts)
        if visit.variables:
            await client.push(visit.variables, visit.visitor_id)
    return Thanks(message="Welcome!", tracked=result.as_dict())


@pages.post("/cart")
async def add_to_cart(form: CartForm, visit: VisitDependency, client: ClientDependency) -> Thanks:
    """Put products into the cart: a conversion of the test of recommendations."""
    visit = visit.named(form.visitor_id)
    add_up(form.items)
    with visit.stopwatch:
        result = await client.track(
            "recommendations", visit.visitor_id, "add_to_cart", **visit.facts
        )
    return Thanks(message="It is in your cart.", tracked=result.as_dict())


@pages.post("/checkout")
async def check_out(form: CartForm, visit: VisitDependency, client: ClientDependency) -> Thanks:
    """Buy what is in the cart: a conversion with revenue, in two tests."""
    visit = visit.named(form.visitor_id)
    total = add_up(form.items)
    with visit.stopwatch:
        result = await client.track(
            ["checkout_button", "recommendations"],
            visit.visitor_id,
            "purchase",
            revenue_value=total,
            **visit.facts,
        )
    return Thanks(message=f"Thank you! You paid {total}.", tracked=result.as_dict())


def add_up(items: Mapping[str, int]) -> Decimal:
    """Return the price of a cart."""
    if not items or not items.keys() <= PRODUCTS.keys():
        raise HTTPException(422, "there is no such product")
    return sum((PRODUCTS[name] * number for name, number in items.items()), Decimal(0))


app = FastAPI(title="A shop", lifespan=lifespan)
app.include_router(pages)


@app.get("/statistics")
async def show_statistics(request: Request, client: ClientDependency) -> dict[str, Any]:
    """Return the statistics of the client, and the times of the handlers."""
    return describe(client, request.state.timing)
