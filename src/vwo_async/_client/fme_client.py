"""The public face for VWO FME: the API methods, which read their arguments and leave the rest to the engine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack, cast, overload

from .._error import InvalidInputError
from .._explanation import FlagExplanation
from .._flag import Flag
from .._log import is_debugging
from .._plain import is_kind, to_plain
from .._reason import Reason
from .._result import AliasResult, TrackResult
from .._settings import parse_fme_settings
from .arguments import read_flag, read_name
from .base_client import Client, read_launch
from .event_time import EventTime, read_time
from .fme_decide import (
    explain_flag,
    explain_refusal,
    get_flag,
    get_flag_now,
    get_flags,
    refuse_flag,
)
from .fme_engine import FMEEngine
from .fme_options import FMELaunchOptions, read_fme_options
from .fme_track import read_attributes, read_event_properties, set_attributes, track_event
from .fme_user import AnyUser, CallUser, read_alias, read_user, read_user_id
from .fme_user_handle import FMEUserHandle

if TYPE_CHECKING:
    from .._settings import FMESettings


class FMEClient(Client[FMEEngine]):
    """Decides and reports for one account and environment of VWO FME (Wingify FME).

    Made, opened, used and closed like `VWOClient`, with the same options by the same names, but those that
    only FullStack knows. Compatible with the official SDKs: a user gets the same flags and variables, and
    rows of a user storage are in their shape.

    A user is a plain id, an `FMEUser`, or a context of the official SDKs: a mapping such as
    ``{"id": "u1", "customVariables": {...}}``, in camel case or snake case.

    Args:
        settings: The v2 settings file: bytes, text, its decoded form, or `FMESettings`.
        **options: See `Options`.

    Raises:
        SettingsError: The settings cannot be used; a file of FullStack is one of `VWOClient`.
        InvalidInputError: Some options cannot be used; the text names each.
    """

    def __init__(
        self,
        settings: FMESettings | bytes | str | Mapping[str, Any],
        **options: Unpack[FMELaunchOptions],
    ) -> None:
        try:
            parsed, chosen = read_launch(parse_fme_settings, settings, read_fme_options, options)
        finally:
            # As in `VWOClient`: the file holds the SDK key, and a proxy's URL a password.
            del settings, options
        super().__init__(FMEEngine(parsed, chosen), chosen)
        self._flag_waits = "get_flag" in chosen.return_promise_for

    @property
    def settings(self) -> FMESettings:
        """The settings file in force."""
        return self._engine.snapshot.settings

    async def get_flag(self, feature_key: str, user: AnyUser, *, wait: bool | None = None) -> Flag:
        """Decide a feature flag for a user, and report what he is shown.

        Args:
            feature_key: The feature.
            user: See the class.
            wait: Await delivery; by default where ``return_promise_for`` names ``get_flag``.

        Returns:
            The flag: true where it is on, with its variables, and a reason in any case.
        """
        engine = self._engine
        if engine.enter():
            await engine.next_turn()
        try:
            # What is a key at a glance needs no closer look.
            if type(feature_key) is not str or not feature_key or not feature_key.isascii():
                feature_key = read_name(feature_key, "feature_key")
            called = CallUser(user) if type(user) is str else self._read_user("get_flag", user)
            waits = self._flag_waits if wait is None else read_flag(wait, False, "wait")
        except InvalidInputError as error:
            self._refuse("get_flag", error)
            flag = _refuse_flag(feature_key, error)
            engine.observe("get_flag", flag, None)
            return flag
        if engine.has_quick_path and not engine.consent.is_asked and not engine.lacks_settings:
            flag = get_flag_now(engine, feature_key, called)
            if engine.has_outbox:
                await engine.reporter.wait_until_kept(flag.delivery)
        else:
            flag = await get_flag(engine, feature_key, called)
        # Asked here too, since most calls end with this question.
        if engine.is_observed or is_debugging():
            engine.observe("get_flag", flag, called.id)
        if waits:
            await engine.reporter.wait_for(flag.delivery)
        return flag

    async def get_flags(self, user: AnyUser) -> Mapping[str, Flag]:
        """Decide every flag for a user, in one round of the storage; report and store nothing.

        Returns:
            By feature key, in the order of the settings file; empty for bad input or an opted-out user.
        """
        engine = self._engine
        if engine.enter():
            await engine.next_turn()
        try:
            called = self._read_user("get_flags", user)
        except InvalidInputError as error:
            self._refuse("get_flags", error)
            return {}
        flags = await get_flags(engine, called)
        for flag in flags.values():
            engine.observe("get_flags", flag, called.id)
        return flags

    async def explain(self, feature_key: str, user: AnyUser) -> FlagExplanation:
        """Return how a flag is decided for a user, step by step; report and store nothing.

        Args:
            feature_key: The feature.
            user: See the class.
        """
        engine = self._engine
        if engine.enter():
            await engine.next_turn()
        try:
            feature_key = read_name(feature_key, "feature_key")
            called = self._read_user("explain", user)
        except InvalidInputError as error:
            self._refuse("explain", error)
            return explain_refusal("", Reason.INVALID_INPUT, str(error))
        return await explain_flag(engine, feature_key, called)

    async def track_event(
        self,
        event_name: str,
        user: AnyUser,
        event_properties: Mapping[str, Any] | None = None,
        *,
        at: EventTime | None = None,
        wait: bool | None = None,
    ) -> TrackResult:
        """Report an event that a metric counts; whether the user was given a flag does not matter.

        Args:
            event_name: The event, as in the metric.
            user: See the class.
            event_properties: Sent with the event: anything that JSON can write. Names that VWO's SDKs use
                themselves (``vwo_...``, ``isCustomEvent``) are left out.
            at: When it happened, if not now: a datetime with a time zone, or seconds since 1970. Not in the
                future.
            wait: Await delivery; by default where ``return_promise_for`` names ``track_event``.

        Returns:
            A result that is true where the event was accepted, or with *wait* received, with ``reason`` and
            ``delivery``. ``as_dict()`` is what the official SDKs return: ``{event_name: bool}``.
        """
        engine = self._engine
        if engine.enter():
            await engine.next_turn()
        try:
            event_name = read_name(event_name, "event_name")
            called = self._read_user("track_event", user)
            notes: list[str] = []
            properties = read_event_properties(event_properties, notes)
            if notes:
                self._note("track_event", notes)
            at_s = None if at is None else read_time(at, time.time)
            waits = self._read_wait("track_event", wait)
        except InvalidInputError as error:
            self._refuse("track_event", error)
            return TrackResult.refused(event_name, Reason.INVALID_INPUT, str(error))
        result = await track_event(
            engine, event_name, called, properties, (*called.notes, *notes), at_s=at_s, waits=waits
        )
        if is_debugging():
            engine.observation.log_conversions("track_event", event_name, called.id, result)
        return result

    @overload
    async def set_attribute(
        self, key: str, value: str | float | bool, user: AnyUser, *, wait: bool | None = None
    ) -> bool: ...
    @overload
    async def set_attribute(
        self, key: Mapping[str, Any], value: AnyUser, *, wait: bool | None = None
    ) -> bool: ...
    async def set_attribute(
        self,
        key: str | Mapping[str, Any],
        value: Any,
        user: AnyUser | None = None,
        *,
        wait: bool | None = None,
    ) -> bool:
        """Report attributes of a user: ``set_attribute(key, value, user)`` or ``set_attribute(mapping, user)``.

        Args:
            key: The name, or a mapping from names to values.
            value: A str, int, float or bool; with a mapping, the user.
            user: See the class; not with a mapping.
            wait: Await delivery; by default where ``return_promise_for`` names ``set_attribute``.

        Returns:
            Whether they were accepted for delivery; awaited, whether VWO received them.
        """
        engine = self._engine
        if engine.enter():
            await engine.next_turn()
        try:
            attributes: Mapping[Any, Any]
            if type(name := to_plain(key)) is str:
                attributes = {name: value}
            elif is_kind(key, Mapping):
                attributes, user = cast("Mapping[Any, Any]", key), value if user is None else user
            else:
                raise InvalidInputError("key must be a str or a mapping")
            called = self._read_user("set_attribute", user)
            notes: list[str] = []
            text = read_attributes(attributes, notes)
            self._note("set_attribute", notes)
            waits = self._read_wait("set_attribute", wait)
        except InvalidInputError as error:
            self._refuse("set_attribute", error)
            return False
        return await set_attributes(engine, text, called, waits=waits)

    async def set_alias(self, user: AnyUser, alias_id: str) -> AliasResult:
        """Make *alias_id* another id of a user: calls for it are about him from then on.

        Needs the launch options ``gateway_service`` and ``is_aliasing_enabled``. What other clients know of
        the alias may be up to a minute old.

        Args:
            user: See the class; only his id counts.
            alias_id: The other id.

        Returns:
            A result that is true where the gateway service set the alias, else with a reason.
        """
        engine = self._engine
        if engine.enter():
            await engine.next_turn()
        try:
            named = CallUser(read_user_id(user))
            user_id, alias = read_alias(named.id, alias_id)
        except InvalidInputError as error:
            self._refuse("set_alias", error)
            return AliasResult(False, Reason.INVALID_INPUT, str(error))
        if await engine.find_user(named) is None:
            return AliasResult(False, Reason.OPTED_OUT)
        return await engine.make_lookup().set_alias(user_id, alias)

    def for_user(self, user: AnyUser) -> FMEUserHandle:
        """Return a light handle that has the API methods for one user, so that handlers need not repeat him.

        Nothing is checked here: the methods check, and answer for bad input, as the client's own do.

        Args:
            user: See the class.
        """
        return FMEUserHandle(self, user)

    def opt_out_user(self, user_id: AnyUser) -> None:
        """Decide, store and send nothing about a user from now on, in this process.

        For a choice that outlives the process, give the launch option ``consent``.

        Args:
            user_id: A user as in the class; only his id counts.

        Raises:
            InvalidInputError: He has no id that a user could have.
        """
        super().opt_out_user(read_user_id(user_id))

    def opt_in_user(self, user_id: AnyUser) -> None:
        """Undo `opt_out_user`.

        Raises:
            InvalidInputError: As there.
        """
        super().opt_in_user(read_user_id(user_id))

    def _read_user(self, name: str, user: object) -> CallUser:
        called = read_user(user, has_web_ids=self._engine.snapshot.event_factory.has_web_ids)
        if called.notes:
            self._note(name, called.notes)
        return called


def _refuse_flag(feature_key: object, error: InvalidInputError) -> Flag:
    key = to_plain(feature_key)
    return refuse_flag(key if type(key) is str else "", Reason.INVALID_INPUT, 0, str(error))
