"""The shop of ``shop.py`` for an account of VWO FME: the same pages, and one `FMEClient` for the process.

Run it with ``uvicorn --app-dir examples fme_shop:app``, and the environment variables of ``shop.py``. What
differs is in this file: features in place of campaigns, events without a campaign, revenue as a property.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypedDict

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from shop import (
    PRODUCTS,
    Banner,
    CartForm,
    Config,
    Form,
    ProductPage,
    Recommendation,
    Thanks,
    TimedRoute,
    Timing,
    Visit,
    VisitDependency,
    add_up,
    describe,
    write_statistics,
)

import vwo_async
from vwo_async import Flag, FMEClient, FMEUser
from vwo_async.storage import MemoryUserStorage

# Life


class State(TypedDict):
    """The contents of ``request.state``."""

    client: FMEClient
    timing: Timing


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[State]:
    """Fetch the settings file, and keep one client open while the shop is running."""
    config = Config.read(os.environ)
    settings = await vwo_async.fetch_fme_settings(
        config.account_id, config.sdk_key, base_url=config.base_url
    )
    timing = Timing()
    async with FMEClient(
        settings,
        base_url=config.base_url,
        user_storage=MemoryUserStorage() if config.keeps_visitors else None,
        return_promise_for={"track_event": config.awaits_delivery},
        close_timeout_s=15.0,
    ) as client:
        yield {"client": client, "timing": timing}
    if config.statistics_file is not None:
        write_statistics(config.statistics_file, client, timing)


async def get_client(request: Request) -> FMEClient:
    """Return the client of this process."""
    client: FMEClient = request.state.client
    return client


ClientDependency = Annotated[FMEClient, Depends(get_client)]


def make_user(visit: Visit) -> FMEUser:
    """Return who a request is from, as the client takes him."""
    return FMEUser(
        visit.visitor_id,
        custom_variables=visit.variables,
        user_agent=visit.facts["user_agent"],
        ip_address=visit.facts["user_ip_address"],
    )


# Pages


pages = APIRouter(route_class=TimedRoute)


@pages.get("/products/{product}")
async def show_product(
    product: str, visit: VisitDependency, client: ClientDependency
) -> ProductPage:
    """Show a product; four features decide about parts of the page."""
    if product not in PRODUCTS:
        raise HTTPException(404)
    user = make_user(visit)
    with visit.stopwatch:
        button = await client.get_flag("checkout_button", user)
        banner = await client.get_flag("banner", user)
        recommendation = await client.get_flag("recommendations", user)
        search = await client.get_flag("search", user)
    return ProductPage(
        product=product,
        price=PRODUCTS[product],
        button=button.get_variable("label", "Control"),
        banner=choose_banner(banner),
        recommendation=choose_recommendation(recommendation),
        search_results=search.get_variable("size", 10),
    )


def choose_banner(flag: Flag) -> Banner | None:
    """Return the banner of a visitor who gets one."""
    if flag.variation is None:
        return None
    return Banner(campaign=flag.key, variation=flag.variation.name)


def choose_recommendation(flag: Flag) -> Recommendation | None:
    """Return the recommendation; its texts and numbers are variables of the feature."""
    if not flag:
        return None
    values = {name: flag.get_variable(name) for name in ("headline", "count", "discount")}
    return Recommendation.model_validate(values)


@pages.post("/signup")
async def sign_up(form: Form, visit: VisitDependency, client: ClientDependency) -> Thanks:
    """Sign up for the newsletter: an event, and attributes to slice the reports by."""
    visit = visit.named(form.visitor_id)
    user = make_user(visit)
    with visit.stopwatch:
        result = await client.track_event("signup", user)
        if visit.variables:
            await client.set_attribute(visit.variables, user)
    return Thanks(message="Welcome!", tracked=result.as_dict())


@pages.post("/cart")
async def add_to_cart(form: CartForm, visit: VisitDependency, client: ClientDependency) -> Thanks:
    """Put products into the cart."""
    visit = visit.named(form.visitor_id)
    add_up(form.items)
    with visit.stopwatch:
        result = await client.track_event("add_to_cart", make_user(visit))
    return Thanks(message="It is in your cart.", tracked=result.as_dict())


@pages.post("/checkout")
async def check_out(form: CartForm, visit: VisitDependency, client: ClientDependency) -> Thanks:
    """Buy what is in the cart: an event whose properties are the revenue and the number of products."""
    visit = visit.named(form.visitor_id)
    total = add_up(form.items)
    properties: dict[str, Any] = {"revenue": total, "items": sum(form.items.values())}
    with visit.stopwatch:
        result = await client.track_event("purchase", make_user(visit), properties)
    return Thanks(message=f"Thank you! You paid {total}.", tracked=result.as_dict())


app = FastAPI(title="A shop", lifespan=lifespan)
app.include_router(pages)


@app.get("/statistics")
async def show_statistics(request: Request, client: ClientDependency) -> dict[str, Any]:
    """Return the statistics of the client, and the times of the handlers."""
    return describe(client, request.state.timing)
