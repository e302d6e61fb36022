"""Makes the events of VWO FME: the one place where they get their time and random number.

What each of them holds is said by docs/fme-reference.md, section F13.1.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from json.encoder import encode_basestring
from random import random
from typing import Any

from .._core.fme.plan import FlagDecision, Impression
from .._core.fme.visitor import WEB_ID_LENGTH, is_web_id
from .._core.visitor import Namer
from .._plain import is_plain
from .._user import User
from .event import Event
from .event_factory import (
    ATTRIBUTES,
    ATTRIBUTES_TEXT,
    SHOWN,
    Stamp,
    dump_properties,
    first_properties,
)
from .fme_event import FMEAccount, FMEEvent
from .request import ENVIRONMENT, dump_json

INITIALIZED = "vwo_fmeSdkInit"
USED = "vwo_feTrackUsage"
_OWN_PREFIX, _OWN_NAMES = "vwo_", frozenset({"isCustomEvent", "vwoMeta"})
_METRIC: Mapping[str, Any] = {"isCustomEvent": True, "variation": 1, "id": 1}
_METRIC_TEXT = dump_json(_METRIC)


class FMEEventFactory:
    """Makes events.

    Attributes:
        account: What is the same in all of them.
        has_web_ids: Whether a web visitor id that is given as user id is used as it is.

    Args:
        account: What is the same in all of them.
        account_id: As in the settings file.
        is_web_connectivity_enabled: Whether a web visitor id that is given as user id is used as it is.
        is_batched: Whether they are collected for batch requests.
        wall_clock: Seconds since the epoch; replaced in tests of time.
    """

    __slots__ = (
        "_account_id",
        "_is_batched",
        "_stamp",
        "_texts",
        "_wall_clock",
        "account",
        "has_web_ids",
    )

    def __init__(
        self,
        account: FMEAccount,
        account_id: int | str,
        *,
        is_web_connectivity_enabled: bool = True,
        is_batched: bool = False,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.account = account
        self._account_id = account_id
        self.has_web_ids = is_web_connectivity_enabled
        self._is_batched = is_batched
        self._wall_clock = wall_clock
        self._stamp = Stamp()
        # The texts of impressions, of which a file has few.
        self._texts: dict[tuple[Impression, int], str] = {}

    def find_session(self, session_id: int) -> int:
        """Return the session of a call: *session_id* where it is not 0, else the present time."""
        return session_id or int(self._wall_clock())

    def find_visitor(self, user: User) -> str | tuple[Namer, bytes]:
        """Return the visitor id of *user*, or what makes it of his id."""
        return self._find_web_id(user) or (self.account.name_visitor, user.id_bytes)

    def _find_web_id(self, user: User) -> str:
        """Return the visitor id that VWO's code in web pages gave the user, empty where his id is none."""
        user_id = user.id
        # The length alone settles nearly all.
        if len(user_id) == WEB_ID_LENGTH and self.has_web_ids and is_web_id(user_id):
            return user_id
        return ""

    def make_impressions(
        self,
        user: User,
        decision: FlagDecision,
        session_id: int = 0,
        reported_variables: Iterable[str] = (),
    ) -> list[Event]:
        """Return the events that say what *user* was shown, in order.

        Args:
            user: Who.
            decision: What was decided.
            session_id: The visitor's session; 0 for now.
            reported_variables: Names of the custom variables that are sent along.
        """
        return [
            self.make_impression(user, decision, one, session_id, reported_variables)
            for one in decision.impressions
        ]

    def make_impression(
        self,
        user: User,
        decision: FlagDecision,
        shown: Impression,
        session_id: int = 0,
        reported_variables: Iterable[str] = (),
    ) -> Event:
        """Return the event of one impression of a decision, see `make_impressions`."""
        feature_id = 0 if decision.feature is None else decision.feature.id
        millis = self._stamp.next(user.id_bytes, int(self._wall_clock() * 1000))
        visitor_props = ""
        if (reported_variables or user.user_ip_address) and not shown.is_holdout:
            visitor_props = _dump_variables(user, reported_variables)
        return FMEEvent(
            self.account,
            user,
            SHOWN,
            millis,
            random(),
            session_id or millis // 1000,
            self._texts.get((shown, feature_id)) or self._make_text(shown, feature_id),
            visitor_props,
            self._find_web_id(user),
            False,
            self._is_batched,
            millis,
        )

    def _make_text(self, one: Impression, feature_id: int) -> str:
        props = {"id": one.campaign_id, "variation": one.variation_id, "isFirst": 1}
        text = dump_json({**props, "fId": feature_id} if one.is_holdout else props)
        self._texts[one, feature_id] = text
        return text

    def make_metric(
        self,
        user: User,
        name: str,
        properties: str = "",
        *,
        session_id: int = 0,
        at_s: float | None = None,
    ) -> Event:
        """Return the event that *user* did what a metric counts.

        Args:
            user: Who.
            name: The event that the metric counts.
            properties: JSON text of an object, from `dump_event_properties`.
            session_id: The visitor's session; 0 for the time of the event.
            at_s: When, in seconds since the epoch; None for now.
        """
        props = _METRIC_TEXT
        if properties:
            # Merged and not joined: some names are also ours, and theirs go first, as in every official SDK.
            props = _dump({**_METRIC, **json.loads(properties)})
        return self._make(user, name, props, session_id=session_id, at_s=at_s)

    def make_attributes(self, user: User, attributes: str, *, session_id: int = 0) -> Event:
        """Return the event that carries attributes of *user*, the JSON text of an object without the environment."""
        return self._make(
            user,
            ATTRIBUTES,
            ATTRIBUTES_TEXT,
            attributes,
            session_id=session_id,
            names_environment=True,
        )

    def make_usage(self, user: User, *, session_id: int = 0) -> Event:
        """Return the event that the SDK was used for *user*, where nothing else says so."""
        return self._make(user, USED, "", session_id=session_id)

    def make_initialized(self) -> Event:
        """Return the event that a client of this account has started; it holds no option of the client."""
        user = User(f"{self._account_id}_{self.account.sdk_key or ''}")
        props = dump_json({"product": "fme", "data": {"isSDKInitialized": True}})
        return self._make(user, INITIALIZED, props, names_environment=True)

    def _make(
        self,
        user: User,
        name: str,
        props: str,
        visitor_props: str = "",
        *,
        session_id: int = 0,
        names_environment: bool = False,
        at_s: float | None = None,
    ) -> Event:
        millis = self._stamp.next(user.id_bytes, int(self._wall_clock() * 1000))
        happened_ms = millis if at_s is None else int(at_s * 1000)
        return FMEEvent(
            self.account,
            user,
            name,
            millis,
            random(),
            session_id or happened_ms // 1000,
            props,
            visitor_props,
            self._find_web_id(user),
            names_environment,
            self._is_batched,
            happened_ms,
        )


def is_own_name(name: str) -> bool:
    """Tell whether VWO's SDKs use the name of a property or attribute themselves."""
    return name.startswith(_OWN_PREFIX) or name in _OWN_NAMES


def dump_event_properties(properties: Mapping[str, Any], notes: list[str]) -> str:
    """Return the JSON text of a caller's properties, less those that only VWO's SDKs may set.

    Args:
        properties: By name.
        notes: Takes a text for each property that is left out, see `dump_properties`.
    """
    given: dict[str, Any] = {}
    for name, value in first_properties(properties, notes):
        if not is_plain(name):
            notes.append("event_properties: a name cannot be written as JSON: it is left out")
        elif type(name) is str and is_own_name(name):
            notes.append("event_properties: a name that VWO's SDKs use themselves is left out")
        else:
            given[name] = value
    return dump_properties(given, notes)


def _dump_variables(user: User, names: Iterable[str]) -> str:
    """Return the JSON text of what an impression says of the visitor."""
    chosen: dict[str, Any] = {
        name: user.custom_variables[name] for name in names if name in user.custom_variables
    }
    if not chosen:
        return f'{{"ip":{encode_basestring(user.user_ip_address)}}}' if user.user_ip_address else ""
    if user.user_ip_address:
        chosen["ip"] = user.user_ip_address
    chosen.pop(ENVIRONMENT, None)
    return dump_properties(chosen, [])


def _dump(props: Mapping[str, Any]) -> str:
    return json.dumps(props, ensure_ascii=False, separators=(",", ":"))
