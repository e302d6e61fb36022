"""Everything that follows from one v2 settings file, replaced as a whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .._core.fme.lazy_plan import compile_fme_plan
from .._core.fme.plan import FMEPlan
from .._delivery.fme_event import FMEAccount
from .._delivery.fme_event_factory import FMEEventFactory
from .._settings.lazy_entries import FeatureTexts
from .._wording import count_of
from .fme_options import FMEOptions
from .snapshot import list_account_fields

if TYPE_CHECKING:
    from .._settings import FMESettings
    from .._settings.fme import Feature, Holdout


class FMESnapshot:
    """One v2 settings file in force; immutable by convention, see `Snapshot`.

    Attributes:
        settings: The file.
        plan: Compiled for deciding.
        event_names: The events that some metric counts, of a feature or a holdout.
        event_factory: Makes the events of this account.

    Args:
        settings: The file.
        options: Launch options.
        wall_clock: Seconds since the epoch.
        plan: The plan of *settings*, where it is compiled already.
        pause: Called between two small steps of the work.
        like: The plan that is replaced, see `compile_fme_plan`.
    """

    __slots__ = ("event_factory", "event_names", "plan", "settings")

    def __init__(
        self,
        settings: FMESettings,
        options: FMEOptions,
        wall_clock: Callable[[], float],
        *,
        plan: FMEPlan | None = None,
        pause: Callable[[], object] = lambda: None,
        like: FMEPlan | None = None,
    ) -> None:
        self.settings = settings
        self.plan: FMEPlan = plan or compile_fme_plan(settings, pause, like)
        self.event_names = _find_events(settings.features) | _find_events(settings.holdouts)
        account = FMEAccount(
            **list_account_fields(settings, options),
            goes_to_gateway=options.gateway_service is not None,
        )
        self.event_factory = FMEEventFactory(
            account,
            settings.account_id,
            is_web_connectivity_enabled=settings.is_web_connectivity_enabled,
            is_batched=options.batch_events is not None,
            wall_clock=wall_clock,
        )

    @property
    def account(self) -> FMEAccount:
        """In whose name events are sent."""
        return self.event_factory.account

    @property
    def summary(self) -> str:
        """What the file holds, in a few words for the log."""
        return count_of(len(self.plan.features), "feature")

    def __repr__(self) -> str:
        return f"<FMESnapshot of {self.summary}>"


def _find_events(entries: Sequence[Feature] | Sequence[Holdout]) -> frozenset[str]:
    """Return the events that the metrics of features or holdouts count."""
    if isinstance(entries, FeatureTexts):
        return entries.events
    metrics = (metric for one in entries for metric in one.metrics)
    return frozenset(one.identifier for one in metrics if one.identifier)
