"""The markers of tests that run on both products, see `chosen_product`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pytest
from chosen_product import CHOSEN, FME, FULLSTACK

BOTH_PRODUCTS = pytest.mark.usefixtures("product")

TestT = TypeVar("TestT", bound=Callable[..., Any])


def once_in_fme(name: str, values: Iterable[Any], **options: Any) -> Callable[[TestT], TestT]:
    """Run a test with each of *values* on FullStack, and with the first of them on FME too.

    For tests that take seconds, of what both products have in one place.
    """
    chosen = list(values)
    rows = [*((FULLSTACK, one) for one in chosen), (FME, chosen[0])]

    def mark(test: TestT) -> TestT:
        parametrize = pytest.mark.parametrize(
            ("product", name), rows, indirect=["product"], **options
        )
        marked: TestT = BOTH_PRODUCTS(parametrize(test))
        return marked

    return mark


@pytest.fixture(params=[FULLSTACK, FME])
def product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test on this product."""
    chosen: str = request.param
    monkeypatch.setenv(CHOSEN, chosen)
    return chosen
