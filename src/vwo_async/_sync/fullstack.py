"""The synchronous client for VWO FullStack."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack, overload

from .._client import client as _async
from .._client import user_handle as _async_handle
from .._client.options import LaunchOptions
from .._user import Variables
from .blocking import in_caller, in_loop
from .client import SyncClient, SyncHandle

if TYPE_CHECKING:
    from .._settings import Settings


class VWOClient(SyncClient[_async.VWOClient]):
    """`vwo_async.VWOClient` for code without a running event loop.

    One for a whole process, made where its modules are loaded or anywhere else; any thread may use it. Making
    one does no I/O; the first call, or `open`, starts the one thread in which its event loop runs. Methods,
    options and errors are those of the async client. Deciding, and reporting what need not be waited for,
    happen in the thread of the caller; all else waits for the client's thread.

    It may be made before a fork. In a child of a process in which it was open it starts afresh with the first
    call, and what the parent has accepted is the parent's to send.

    What is pending is delivered when it is closed and when the process ends, within ``close_timeout_s``: by
    an exit, by an error, or by SIGTERM. `os._exit` and SIGKILL leave no time for it: call `flush_events` before
    the first, and have an outbox for the second.

    Args:
        settings: As for `vwo_async.VWOClient`.
        **options: As there. Functions among them are called in the client's thread; ``integrations`` and a
            ``consent`` make all calls wait for it.

    Raises:
        SettingsError: The settings cannot be used.
        InvalidInputError: Some options cannot be used; the text names each.
    """

    def __init__(
        self,
        settings: Settings | bytes | str | Mapping[str, Any],
        **options: Unpack[LaunchOptions],
    ) -> None:
        try:
            super().__init__(_async.VWOClient, settings, options)
        finally:
            del settings, options

    @property
    def settings(self) -> Settings:
        """The settings file in force."""
        return self._client.settings

    activate = in_caller(_async.VWOClient.activate)
    get_variation_name = in_caller(_async.VWOClient.get_variation_name)
    get_variation = get_variation_name
    is_feature_enabled = in_caller(_async.VWOClient.is_feature_enabled)
    get_feature_variable_value = in_caller(_async.VWOClient.get_feature_variable_value)
    track = in_caller(_async.VWOClient.track)
    decide = in_caller(_async.VWOClient.decide)
    decide_all = in_loop(_async.VWOClient.decide_all)
    explain = in_loop(_async.VWOClient.explain)
    get_and_update_settings_file = in_loop(_async.VWOClient.get_and_update_settings_file)

    if TYPE_CHECKING:

        @overload
        def push(
            self, tag_key: str, tag_value: str, user_id: str, *, wait: bool | None = None
        ) -> bool: ...
        @overload
        def push(
            self, tag_key: Mapping[str, Any], tag_value: str, *, wait: bool | None = None
        ) -> bool: ...
        @overload
        def push(
            self,
            *,
            custom_dimension_map: Mapping[str, Any],
            user_id: str,
            wait: bool | None = None,
        ) -> bool: ...
        def push(
            self,
            tag_key: Any = None,
            tag_value: Any = None,
            user_id: Any = None,
            *,
            custom_dimension_map: Any = None,
            wait: Any = None,
        ) -> Any: ...
    else:
        push = in_caller(_async.VWOClient.push)

    def for_user(
        self,
        user_id: str,
        *,
        custom_variables: Variables | None = None,
        variation_targeting_variables: Variables | None = None,
        user_agent: str | None = None,
        user_ip_address: str | None = None,
    ) -> UserHandle:
        """Return a light handle that has the API methods for one user; see `vwo_async.VWOClient.for_user`."""
        return UserHandle(
            self,
            partial(
                _async.VWOClient.for_user,
                user_id=user_id,
                custom_variables=custom_variables,
                variation_targeting_variables=variation_targeting_variables,
                user_agent=user_agent,
                user_ip_address=user_ip_address,
            ),
        )


class UserHandle(SyncHandle[_async_handle.UserHandle]):
    """The API methods for one user; made by `VWOClient.for_user`. Its methods are those of `vwo_async.UserHandle`."""

    __slots__ = ()

    activate = in_caller(_async_handle.UserHandle.activate)
    get_variation_name = in_caller(_async_handle.UserHandle.get_variation_name)
    get_variation = get_variation_name
    is_feature_enabled = in_caller(_async_handle.UserHandle.is_feature_enabled)
    get_feature_variable_value = in_caller(_async_handle.UserHandle.get_feature_variable_value)
    track = in_caller(_async_handle.UserHandle.track)
    decide = in_caller(_async_handle.UserHandle.decide)
    decide_all = in_loop(_async_handle.UserHandle.decide_all)
    explain = in_loop(_async_handle.UserHandle.explain)

    if TYPE_CHECKING:

        @overload
        def push(self, tag_key: str, tag_value: str, *, wait: bool | None = None) -> bool: ...
        @overload
        def push(self, tag_key: Mapping[str, Any], *, wait: bool | None = None) -> bool: ...
        @overload
        def push(
            self, *, custom_dimension_map: Mapping[str, Any], wait: bool | None = None
        ) -> bool: ...
        def push(
            self,
            tag_key: Any = None,
            tag_value: Any = None,
            *,
            custom_dimension_map: Any = None,
            wait: Any = None,
        ) -> Any: ...
    else:
        push = in_caller(_async_handle.UserHandle.push)
