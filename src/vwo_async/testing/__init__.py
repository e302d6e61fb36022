"""What tests need, of services and of storages.

The pytest plugin gives tests of services the fixtures ``vwo`` and ``vwo_fme``, a `VWOFixture` and an
`FMEFixture`: their client sends nothing, and its events are asked for as `SentEvent`. Settings files are
written in a line or two, by `campaign`, `feature_test` and `feature_rollout` (each a `CampaignBuilder`) with
`build_settings`, and for FME by `feature` (a `FeatureBuilder`) with `build_fme_settings`::

    async def test_purchase(vwo):
        vwo.use(campaign("checkout").goal("purchase"))
        vwo.force("checkout", "Variation-1")
        await shop.buy(vwo.client, "Ashley")
        vwo.assert_sent(kind="conversion", goal="purchase", user="Ashley")

`RecordingTransport` is for those who want the requests themselves, without pytest::

    transport = RecordingTransport()
    async with VWOClient(settings, transport=transport) as client:
        await client.track("checkout", "Ashley", "purchase", wait=True)
    assert len(transport.requests) == 1

`UserStorageContract` tests a storage of one's own.
"""

from .._home import rehome
from .._testing.campaign_builder import (
    CampaignBuilder,
    build_settings,
    campaign,
    feature_rollout,
    feature_test,
)
from .._testing.contract import UserStorageContract
from .._testing.feature_builder import FeatureBuilder, build_fme_settings, feature
from .._testing.fixture import FMEFixture, VWOFixture
from .._testing.recording import RecordingTransport
from .._testing.sent_event import SentEvent

__all__ = [
    "CampaignBuilder",
    "FMEFixture",
    "FeatureBuilder",
    "RecordingTransport",
    "SentEvent",
    "UserStorageContract",
    "VWOFixture",
    "build_fme_settings",
    "build_settings",
    "campaign",
    "feature",
    "feature_rollout",
    "feature_test",
]

rehome(globals())
