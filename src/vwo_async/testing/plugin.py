"""The pytest plugin, which pytest finds by itself: the fixtures ``vwo`` and ``vwo_fme``.

A test says which campaigns there are, who gets what, and asks what was reported::

    from vwo_async.testing import campaign

    async def test_purchase(vwo, shop):
        vwo.use(campaign("checkout").goal("purchase", revenue=True).split(50, 50))
        vwo.force("checkout", "Variation-1")
        await shop.buy(vwo.client, "Ashley", 49.9)
        vwo.assert_sent(kind="conversion", goal="purchase", user="Ashley", revenue=49.9)

The settings and launch options of all tests of a module or package are fixtures to be overridden:
``vwo_settings`` and ``vwo_options``, ``vwo_fme_settings`` and ``vwo_fme_options``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .._testing.campaign_builder import SettingsFile, build_settings
from .._testing.feature_builder import build_fme_settings
from .._testing.fixture import FMEFixture, VWOFixture

__all__: list[str] = []


@pytest.fixture
def vwo_settings() -> SettingsFile:
    """The settings file of `vwo`, or its path: one without campaigns, unless it is overridden."""
    return build_settings()


@pytest.fixture
def vwo_options() -> dict[str, Any]:
    """The launch options of `vwo`: none, unless it is overridden."""
    return {}


@pytest.fixture
def vwo(vwo_settings: SettingsFile, vwo_options: dict[str, Any]) -> Iterator[VWOFixture]:
    """A `VWOClient` that sends nothing, and what a test asks of it."""
    fixture = VWOFixture(vwo_settings, vwo_options)
    yield fixture
    fixture.end()


@pytest.fixture
def vwo_fme_settings() -> SettingsFile:
    """The v2 settings file of `vwo_fme`, or its path: one without features, unless it is overridden."""
    return build_fme_settings()


@pytest.fixture
def vwo_fme_options() -> dict[str, Any]:
    """The launch options of `vwo_fme`: none, unless it is overridden."""
    return {}


@pytest.fixture
def vwo_fme(
    vwo_fme_settings: SettingsFile, vwo_fme_options: dict[str, Any]
) -> Iterator[FMEFixture]:
    """An `FMEClient` that sends nothing, and what a test asks of it."""
    fixture = FMEFixture(vwo_fme_settings, vwo_fme_options)
    yield fixture
    fixture.end()
