"""Where conversions go: a client of either product, and how one row becomes a call of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from ... import FMEClient, FMEUser, Reason, TrackResult, VWOClient
from ..exit_code import CommandError
from ..subject import FMESubject, FullStackSubject, Subject
from .columns import Conversion, RowError

# The bytes of these options never bind before the number of events, unless rows are large.
MAX_QUEUE_BYTES = 64_000_000
BATCH_EVENTS = 500


ClientT = TypeVar("ClientT", VWOClient, FMEClient)


class Target(ABC, Generic[ClientT]):
    """A client that is to be opened, and how rows are reported with it.

    Attributes:
        client: The client.
    """

    client: ClientT

    @abstractmethod
    def check(self, one: Conversion) -> None:
        """Refuse a row with something for which the product has no place.

        Raises:
            RowError: It has.
        """

    @abstractmethod
    def count_events(self, one: Conversion) -> int:
        """Return how many events a row may become."""

    @abstractmethod
    async def report(self, one: Conversion) -> TrackResult:
        """Report a row; see `VWOClient.track` and `FMEClient.track_event`."""

    @abstractmethod
    def narrow(self, one: Conversion, result: TrackResult) -> Conversion:
        """Return what of a row the queue had no room for."""


class FullStackTarget(Target[VWOClient]):
    """A client of FullStack.

    Args:
        file: The settings file.
        subject: The same, compiled.
        fields: The fields that rows have.
        options: Launch options of the client.

    Raises:
        CommandError: The account has no place for one of the fields.
    """

    def __init__(
        self, file: Any, subject: FullStackSubject, fields: Iterable[str], options: dict[str, Any]
    ) -> None:
        is_arch = bool(subject.settings.is_event_arch_enabled)
        properties = [one for one in fields if one.startswith("property.")]
        if properties and not is_arch:
            raise CommandError(
                f"{properties[0]}: this account has no event properties: leave the column out"
            )
        if is_arch and not properties:
            # Without this option events of such an account travel alone, at a fraction of the speed.
            batching = {"events_per_request": BATCH_EVENTS, "request_time_interval": 1}
            options = {**options, "batch_events": batching}
        self.client = VWOClient(file, **options)
        self._campaigns = Counter(
            goal.identifier
            for campaign in subject.settings.campaigns
            for goal in campaign.goals or ()
            if goal.identifier
        )

    def check(self, one: Conversion) -> None:
        # What it has no place for is in no field of a row.
        return

    def count_events(self, one: Conversion) -> int:
        return 1 if type(one.campaign) is str else max(self._campaigns[one.goal], 1)

    async def report(self, one: Conversion) -> TrackResult:
        return await self.client.track(
            one.campaign,
            one.user,
            one.goal,
            revenue_value=one.revenue,
            custom_variables=one.variables,
            variation_targeting_variables=one.targeting,
            event_properties=one.properties,
            user_agent=one.user_agent,
            user_ip_address=one.ip,
            at=one.at,
        )

    def narrow(self, one: Conversion, result: TrackResult) -> Conversion:
        full = [key for key, track in result.items() if track.reason is Reason.QUEUE_FULL]
        return one._replace(campaign=full)


class FMETarget(Target[FMEClient]):
    """A client of FME.

    Args:
        file: The settings file.
        fields: The fields that rows have.
        options: Launch options of the client.

    Raises:
        CommandError: FME has no place for one of the fields.
    """

    def __init__(self, file: Any, fields: Iterable[str], options: dict[str, Any]) -> None:
        for one in fields:
            if one == "revenue":
                raise CommandError(
                    "FME has revenue in an event property: give --column property.NAME=COLUMN, with the name that"
                    " the metric has for it; --column revenue= leaves a column of that name out"
                )
            if one == "campaign" or one.startswith(("var.", "targeting.")):
                raise CommandError(
                    f"{one}: an event of FME has none: give --column {one}= to leave the column out"
                )
        self.client = FMEClient(file, **options)

    def check(self, one: Conversion) -> None:
        for name, value in (("campaign", one.campaign), ("revenue", one.revenue)):
            if value is not None:
                raise RowError(f"{name}: an event of FME has none: give --column {name}=")

    def count_events(self, one: Conversion) -> int:
        return 1

    async def report(self, one: Conversion) -> TrackResult:
        user: Any = one.user
        if one.user_agent is not None or one.ip is not None:
            user = FMEUser(one.user, user_agent=one.user_agent, ip_address=one.ip)
        return await self.client.track_event(one.goal, user, one.properties, at=one.at)

    def narrow(self, one: Conversion, result: TrackResult) -> Conversion:
        return one


def make_target(
    file: Any, subject: Subject, fields: Iterable[str], options: dict[str, Any]
) -> Target[Any]:
    """Return the target of a settings file.

    Args:
        file: The file, with its SDK key.
        subject: The same, compiled.
        fields: The fields that rows have.
        options: Launch options of the client.

    Raises:
        CommandError: It has no place for one of the fields.
    """
    if isinstance(subject, FMESubject):
        return FMETarget(file, fields, options)
    assert isinstance(subject, FullStackSubject)
    return FullStackTarget(file, subject, fields, options)
