"""What the pytest fixtures `vwo` and `vwo_fme` are: a client that sends nothing, and all that a test asks of it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, Generic, TypeVar, Unpack

from .._client.client import VWOClient
from .._client.fme_client import FMEClient
from .._client.fme_user import read_user
from .._core.api_method import DECIDE_ALL
from .._core.decision import decide, find_refusal
from .._core.feature_variable import is_enabled
from .._core.fme.decision import decide_feature
from .._core.fme.plan import FlagDecision
from .._delivery.event import Event
from .._error import InvalidInputError
from .._settings import parse_fme_settings, parse_settings
from .._settings.wrong_file import describe_wrong_file
from .._user import User
from .campaign_builder import SDK_KEY, CampaignBuilder, SettingsFile, read_campaigns
from .faulty_transport import FaultyTransport
from .feature_builder import FeatureBuilder, read_features
from .forced import force_flag, force_variation
from .loop_clients import LoopEngines, RecordingFMEClient, RecordingVWOClient
from .sent_event import EventFilter, EventReader, SentEvent, read_filter

ClientT = TypeVar("ClientT", bound=VWOClient | FMEClient)

# How many made-up users are tried for one who gets what is asked for.
MAX_TRIED = 10_000


def read_file(file: SettingsFile) -> dict[str, Any]:
    """Return a settings file in its decoded form, with a made-up SDK key.

    Args:
        file: The file, or where it is.

    Raises:
        InvalidInputError: It is no JSON object.
        OSError: There is none.
    """
    text = file.read_bytes() if isinstance(file, Path) else file
    found = _parse_text(text) if isinstance(text, (bytes, str)) else dict(text)
    if not isinstance(found, dict):
        raise InvalidInputError("a settings file is a JSON object")
    return {**found, "sdkKey": SDK_KEY}


def _parse_text(text: bytes | str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        body = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
        raise InvalidInputError(describe_wrong_file(body) or "a settings file is JSON") from None


class ProductFixture(ABC, Generic[ClientT]):
    """One client of either product for one test.

    Attributes:
        client: For the service under test: a client like any other, ``strict``, which sends nothing. It may
            be used in one event loop after another, and need neither be opened nor closed.
        file: The settings file in force, decoded.

    Args:
        file: The settings file at first.
        options: Launch options beside ``strict=True``, such as a user storage.
    """

    client: ClientT

    def __init__(self, file: SettingsFile, options: Mapping[str, Any]) -> None:
        self.file = read_file(file)
        self._reader = EventReader(self.file)
        self._accepted: list[tuple[Event, float, EventReader]] = []
        self._transport = FaultyTransport()
        self.client = self._launch({"strict": True, **options, "transport": self._transport})

    @abstractmethod
    def _launch(self, options: Mapping[str, Any]) -> ClientT: ...

    @property
    @abstractmethod
    def _engines(self) -> LoopEngines[Any]: ...

    @abstractmethod
    def _parse(self, file: Mapping[str, Any]) -> Any: ...

    @abstractmethod
    def _force(self, key: str, wanted: str | bool | None) -> dict[str, Any]: ...

    @abstractmethod
    def _gives(self, key: str, wanted: str | bool | None, user_id: str, **user: Any) -> bool: ...

    # Settings

    def _put_in_force(self, file: SettingsFile) -> None:
        new = read_file(file)
        self._engines.put_in_force(self._parse(new))
        self.file, self._reader = new, EventReader(new)

    def force(self, key: str, variation: str | bool | None) -> None:
        """Have everybody get one variation from now on, whatever segments, traffic and groups say.

        A user whom the storage knows keeps what it holds.

        Args:
            key: The campaign, or the feature of FME.
            variation: The name of the variation; None for nobody. Of a feature also True or False: on, by
                its first rule or variation that has it on, or off.

        Raises:
            InvalidInputError: The settings have no such campaign or variation; the text names those they have.
        """
        self._put_in_force(self._force(key, variation))

    def users(self, key: str, variation: str | bool | None, **user: Any) -> Iterator[str]:
        """Yield user ids that get a variation, without end.

        Args:
            key: As for `force`.
            variation: As for `force`.
            **user: What else is known of them, such as ``custom_variables``.

        Raises:
            InvalidInputError: There is no such campaign or variation, or of 10,000 users nobody gets it.
        """
        self._force(key, variation)
        tried = 0
        for number in count(1):
            tried += 1
            user_id = f"user-{number}"
            if self._gives(key, variation, user_id, **user):
                tried = 0
                yield user_id
            elif tried == MAX_TRIED:
                raise InvalidInputError(
                    f"of {MAX_TRIED} users nobody gets {variation!r} of {key!r}"
                )

    def user(self, key: str, variation: str | bool | None, **user: Any) -> str:
        """Return the first of `users`."""
        return next(self.users(key, variation, **user))

    # Events

    def _note(self, event: Event, at_s: float) -> None:
        self._accepted.append((event, at_s, self._reader))

    @property
    def events(self) -> list[SentEvent]:
        """All that the client has reported so far, in order; also what is still on its way."""
        return [one for event, at_s, reader in self._accepted for one in reader.read(event, at_s)]

    def find_events(self, **wanted: Unpack[EventFilter]) -> list[SentEvent]:
        """Return the events that have all these attributes.

        Raises:
            InvalidInputError: No event has an attribute of that name.
        """
        chosen = read_filter(**wanted)
        return [one for one in self.events if one.matches(chosen)]

    def assert_sent(self, *, times: int = 1, **wanted: Unpack[EventFilter]) -> None:
        """Check that just *times* events have all these attributes.

        Raises:
            AssertionError: There are more or fewer; the text has all events.
            InvalidInputError: No event has an attribute of that name.
        """
        __tracebackhide__ = True
        found = self.find_events(**wanted)
        if len(found) != times:
            asked = ", ".join(f"{name}={value!r}" for name, value in wanted.items())
            lines = [f"  {one}" for one in self.events] or ["  nothing"]
            text = f"{len(found)} events with {asked}, not {times}; sent were:"
            raise AssertionError("\n".join([text, *lines]))

    def clear(self) -> None:
        """Forget the events so far."""
        self._accepted.clear()

    async def settle(self) -> None:
        """Wait until every event so far has ended or failed, for those who look at ``status``."""
        await self.client.flush_events()

    # Faults

    def refuse(self, status: int = 503) -> None:
        """Have VWO answer with a status from now on."""
        self._transport.refuse(status)

    def hang(self) -> None:
        """Have VWO answer nothing from now on, until `recover`."""
        self._transport.hang()

    def lose(self) -> None:
        """Have connections break from now on before VWO answers."""
        self._transport.lose()

    def recover(self) -> None:
        """Have VWO take everything again."""
        self._transport.recover()

    def end(self) -> None:
        """Let go of the client. Called by pytest."""
        self._engines.end()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self._accepted)} events>"


class VWOFixture(ProductFixture[VWOClient]):
    """A client of FullStack for one test, see `ProductFixture`."""

    def use(self, *settings: CampaignBuilder | SettingsFile) -> None:
        """Put a settings file in force.

        Args:
            *settings: A settings file or its path; or campaigns of a new one.

        Raises:
            InvalidInputError: Two campaigns have one key, or a file does not stand alone.
            SettingsError: The settings cannot be used.
        """
        self._put_in_force(read_campaigns(settings))

    def _launch(self, options: Mapping[str, Any]) -> VWOClient:
        self._recording = RecordingVWOClient(self.file, self._note, **options)
        return self._recording

    @property
    def _engines(self) -> LoopEngines[Any]:
        return self._recording.engines

    def _parse(self, file: Mapping[str, Any]) -> Any:
        return parse_settings(file)

    def _force(self, key: str, wanted: str | bool | None) -> dict[str, Any]:
        return force_variation(self.file, key, wanted)

    def _gives(self, key: str, wanted: str | bool | None, user_id: str, **user: Any) -> bool:
        plan = self._engines.find().snapshot.plan
        campaign = plan.campaigns.get(key)
        refusal = find_refusal(campaign, DECIDE_ALL, has_storage=True)
        if campaign is None or refusal is not None:
            return wanted is None or wanted is False
        decision = decide(plan, campaign, User(user_id, **user), DECIDE_ALL, None)
        found = decision.variation
        if isinstance(wanted, bool):
            return wanted is (found is not None and is_enabled(campaign, found))
        return wanted == (None if found is None else found.name)


class FMEFixture(ProductFixture[FMEClient]):
    """A client of FME for one test, see `ProductFixture`."""

    def use(self, *settings: FeatureBuilder | SettingsFile) -> None:
        """Put a v2 settings file in force.

        Args:
            *settings: A settings file or its path; or features of a new one.

        Raises:
            InvalidInputError: Two features have one key, or a file does not stand alone.
            SettingsError: The settings cannot be used.
        """
        self._put_in_force(read_features(settings))

    def _launch(self, options: Mapping[str, Any]) -> FMEClient:
        self._recording = RecordingFMEClient(self.file, self._note, **options)
        return self._recording

    @property
    def _engines(self) -> LoopEngines[Any]:
        return self._recording.engines

    def _parse(self, file: Mapping[str, Any]) -> Any:
        return parse_fme_settings(file)

    def _force(self, key: str, wanted: str | bool | None) -> dict[str, Any]:
        return force_flag(self.file, key, wanted)

    def _gives(self, key: str, wanted: str | bool | None, user_id: str, **user: Any) -> bool:
        decision = decide_feature(
            self._engines.find().snapshot.plan, key, read_user({"id": user_id, **user})
        )
        if not isinstance(decision, FlagDecision):
            return False
        if wanted is None or isinstance(wanted, bool):
            return bool(wanted) is decision.is_enabled
        return decision.variation is not None and decision.variation.name == wanted
