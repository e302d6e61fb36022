"""The marker of tests that run on both products, see `chosen_product`."""

from __future__ import annotations

import pytest
from chosen_product import CHOSEN, FME, FULLSTACK

BOTH_PRODUCTS = pytest.mark.usefixtures("product")


@pytest.fixture(params=[FULLSTACK, FME])
def product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test on this product."""
    chosen: str = request.param
    monkeypatch.setenv(CHOSEN, chosen)
    return chosen
