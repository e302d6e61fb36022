"""Everything that follows from one settings file, replaced as a whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

from .._core.goal import ReadyTargets
from .._core.lazy_plan import compile_plan
from .._core.plan import Plan
from .._delivery.event_factory import EventFactory
from .._delivery.request import Account
from .._wording import count_of
from .options import Options

if TYPE_CHECKING:
    from .._settings import FMESettings, Settings


class AccountFields(TypedDict):
    """What `Account` takes for either product."""

    account_id: int | str
    sdk_key: str | None
    collection_prefix: str
    sdk_name: str
    sdk_version: str


def list_account_fields(settings: Settings | FMESettings, options: Options) -> AccountFields:
    """Return what all requests say of the account of *settings*."""
    key = settings.sdk_key
    return {
        "account_id": settings.account_id,
        "sdk_key": None if key is None else key.get_secret_value(),
        "collection_prefix": settings.collection_prefix,
        "sdk_name": options.sdk_name,
        "sdk_version": options.sdk_version,
    }


class Snapshot:
    """One settings file in force; immutable by convention.

    A call takes one reference to it, so that a refresh cannot change the rules during the call.

    Attributes:
        settings: The file.
        plan: Compiled for deciding.
        targets: Campaign and goal of the track calls that need no further checks.
        event_factory: Makes the events of this account.

    Args:
        settings: The file.
        options: Launch options.
        wall_clock: Seconds since the epoch.
        plan: The plan of *settings*, where it is compiled already.
        previous: The snapshot that this one will replace.
        pause: Called between two small steps of the work.
    """

    __slots__ = ("event_factory", "plan", "settings", "targets")

    def __init__(
        self,
        settings: Settings,
        options: Options,
        wall_clock: Callable[[], float],
        *,
        plan: Plan | None = None,
        previous: Snapshot | None = None,
        pause: Callable[[], object] = lambda: None,
    ) -> None:
        self.settings = settings
        self.plan: Plan = plan or compile_plan(
            settings, None if previous is None else previous.plan, pause
        )
        self.targets = ReadyTargets(self.plan, options.goal_type_to_track)
        self.event_factory = EventFactory(
            Account(**list_account_fields(settings, options), usage=options.usage),
            is_arch=settings.is_event_arch_enabled,
            is_batched=options.batch_events is not None,
            wall_clock=wall_clock,
        )

    @property
    def account(self) -> Account:
        """In whose name events are sent."""
        return self.event_factory.account

    @property
    def summary(self) -> str:
        """What the file holds, in a few words for the log."""
        return count_of(len(self.plan.campaigns), "campaign")

    def __repr__(self) -> str:
        return f"<Snapshot of {self.summary}>"
