"""The synchronous client for VWO FME."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack, overload

from .._client import fme_client as _async
from .._client import fme_user_handle as _async_handle
from .._client.fme_options import FMELaunchOptions
from .._client.fme_user import AnyUser
from .blocking import in_caller, in_loop
from .client import SyncClient, SyncHandle

if TYPE_CHECKING:
    from .._settings import FMESettings


class FMEClient(SyncClient[_async.FMEClient]):
    """`vwo_async.FMEClient` for code without a running event loop.

    Made, used and closed like `vwo_async.sync.VWOClient`: one for a whole process, from any thread, before or
    after a fork, and drained when the process ends.

    Args:
        settings: As for `vwo_async.FMEClient`.
        **options: As there.

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
            super().__init__(_async.FMEClient, settings, options)
        finally:
            del settings, options

    @property
    def settings(self) -> FMESettings:
        """The settings file in force."""
        return self._client.settings

    get_flag = in_caller(_async.FMEClient.get_flag)
    get_flags = in_loop(_async.FMEClient.get_flags)
    explain = in_loop(_async.FMEClient.explain)
    track_event = in_caller(_async.FMEClient.track_event)
    set_alias = in_loop(_async.FMEClient.set_alias)

    if TYPE_CHECKING:

        @overload
        def set_attribute(
            self, key: str, value: str | float | bool, user: AnyUser, *, wait: bool | None = None
        ) -> bool: ...
        @overload
        def set_attribute(
            self, key: Mapping[str, Any], value: AnyUser, *, wait: bool | None = None
        ) -> bool: ...
        def set_attribute(
            self, key: Any, value: Any, user: Any = None, *, wait: Any = None
        ) -> Any: ...
    else:
        set_attribute = in_caller(_async.FMEClient.set_attribute)

    def opt_out_user(self, user_id: AnyUser) -> None:
        """Decide, store and send nothing about a user from now on; see `vwo_async.FMEClient.opt_out_user`.

        Raises:
            InvalidInputError: He has no id that a user could have.
        """
        self._client.opt_out_user(user_id)

    def opt_in_user(self, user_id: AnyUser) -> None:
        """Undo `opt_out_user`.

        Raises:
            InvalidInputError: As there.
        """
        self._client.opt_in_user(user_id)

    def for_user(self, user: AnyUser) -> FMEUserHandle:
        """Return a light handle that has the API methods for one user; see `vwo_async.FMEClient.for_user`."""
        return FMEUserHandle(self, partial(_async.FMEClient.for_user, user=user))


class FMEUserHandle(SyncHandle[_async_handle.FMEUserHandle]):
    """The API methods for one user; made by `FMEClient.for_user`. They are those of `vwo_async.FMEUserHandle`."""

    __slots__ = ()

    get_flag = in_caller(_async_handle.FMEUserHandle.get_flag)
    get_flags = in_loop(_async_handle.FMEUserHandle.get_flags)
    explain = in_loop(_async_handle.FMEUserHandle.explain)
    track_event = in_caller(_async_handle.FMEUserHandle.track_event)
    set_alias = in_loop(_async_handle.FMEUserHandle.set_alias)

    if TYPE_CHECKING:

        @overload
        def set_attribute(
            self, key: str, value: str | float | bool, *, wait: bool | None = None
        ) -> bool: ...
        @overload
        def set_attribute(self, key: Mapping[str, Any], *, wait: bool | None = None) -> bool: ...
        def set_attribute(self, key: Any, value: Any = None, *, wait: Any = None) -> Any: ...
    else:
        set_attribute = in_caller(_async_handle.FMEUserHandle.set_attribute)
