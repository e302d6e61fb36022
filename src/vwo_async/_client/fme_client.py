"""The public face for VWO FME: the API methods, which read their arguments and leave the rest to the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack, overload

from .._error import InvalidInputError
from .._flag import Flag
from .._reason import Reason
from .._result import TrackResult
from .._settings import parse_fme_settings
from .arguments import check_name
from .base_client import Client, read_launch
from .fme_decide import get_flag, get_flags
from .fme_engine import FmeEngine
from .fme_track import read_attributes, read_event_properties, set_attributes, track_event
from .fme_user import AnyUser, CallUser, read_user
from .options import FMELaunchOptions, read_fme_options

if TYPE_CHECKING:
    from .._settings import FMESettings


class FMEClient(Client[FmeEngine]):
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
        super().__init__(FmeEngine(parsed, chosen), chosen)

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
                check_name(feature_key, "feature_key")
            called = self._read_user("get_flag", user)
            waits = self._read_wait("get_flag", wait)
        except InvalidInputError as error:
            self._refuse("get_flag", error)
            return _refuse_flag(feature_key, error)
        return await get_flag(engine, feature_key, called, waits=waits)

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
        return await get_flags(engine, called)

    async def track_event(
        self,
        event_name: str,
        user: AnyUser,
        event_properties: Mapping[str, Any] | None = None,
        *,
        wait: bool | None = None,
    ) -> TrackResult:
        """Report an event that a metric counts; whether the user was given a flag does not matter.

        Args:
            event_name: The event, as in the metric.
            user: See the class.
            event_properties: Sent with the event: anything that JSON can write. Names that VWO's SDKs use
                themselves (``vwo_...``, ``isCustomEvent``) are left out.
            wait: Await delivery; by default where ``return_promise_for`` names ``track_event``.

        Returns:
            A result that is true where the event was accepted, or with *wait* received, with ``reason`` and
            ``delivery``. ``as_dict()`` is what the official SDKs return: ``{event_name: bool}``.
        """
        engine = self._engine
        if engine.enter():
            await engine.next_turn()
        try:
            check_name(event_name, "event_name")
            called = self._read_user("track_event", user)
            notes: list[str] = []
            properties = read_event_properties(event_properties, notes)
            if notes:
                self._note("track_event", notes)
            waits = self._read_wait("track_event", wait)
        except InvalidInputError as error:
            self._refuse("track_event", error)
            return TrackResult.refused(event_name, Reason.INVALID_INPUT, str(error))
        return await track_event(
            engine, event_name, called, properties, (*called.notes, *notes), waits=waits
        )

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
            attributes: Mapping[Any, Any] = {key: value} if isinstance(key, str) else key
            if not isinstance(attributes, Mapping):
                raise InvalidInputError("key must be a str or a mapping")
            if not isinstance(key, str) and user is None:
                user = value
            called = self._read_user("set_attribute", user)
            notes: list[str] = []
            text = read_attributes(attributes, notes)
            self._note("set_attribute", notes)
            waits = self._read_wait("set_attribute", wait)
        except InvalidInputError as error:
            self._refuse("set_attribute", error)
            return False
        return await set_attributes(engine, text, called, waits=waits)

    def _read_user(self, name: str, user: object) -> CallUser:
        has_web_ids = self.settings.is_web_connectivity_enabled
        called = read_user(user, has_web_ids=has_web_ids)
        if called.notes:
            self._note(name, called.notes)
        return called


def _refuse_flag(feature_key: object, error: InvalidInputError) -> Flag:
    key = str.__str__(feature_key) if isinstance(feature_key, str) else ""
    return Flag(key, Reason.INVALID_INPUT, detail=str(error))
