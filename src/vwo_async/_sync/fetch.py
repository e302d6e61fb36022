"""Getting settings without a running event loop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from .._refresh import fetch as _async
from .._refresh.source import FMESettingsSource, SettingsSource
from .loop_thread import LoopThread
from .open_client import STOP_S

if TYPE_CHECKING:
    from .._settings import FMESettings, Settings

P = ParamSpec("P")
R = TypeVar("R")


def _in_own_loop(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """Return *function* as one that runs in a loop of its own, wherever it is called."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            coroutine = function(*args, **kwargs)
        finally:
            # Tools that report errors show the locals of each frame, and the SDK key is among these.
            del args, kwargs
        thread = LoopThread()
        try:
            return thread.run(coroutine)
        finally:
            thread.stop(STOP_S)

    return call


fetch_settings = _in_own_loop(_async.fetch_settings)
fetch_fme_settings = _in_own_loop(_async.fetch_fme_settings)
_load = _in_own_loop(SettingsSource.load)
_load_fme = _in_own_loop(FMESettingsSource.load)


@overload
def load_settings(source: FMESettingsSource, *, or_empty: bool = False) -> FMESettings: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]  # as `FMESettingsSource.load`
@overload
def load_settings(source: SettingsSource, *, or_empty: bool = False) -> Settings: ...
def load_settings(source: SettingsSource, *, or_empty: bool = False) -> Any:
    """Return the settings that a source gives, for a client that has it as ``settings_source``.

    Args:
        source: The source.
        or_empty: Whether a service starts without any settings too; see `vwo_async.SettingsSource.load`.

    Raises:
        DeliveryError: As there.
        SettingsError: As there.
    """
    if isinstance(source, FMESettingsSource):
        return _load_fme(source, or_empty=or_empty)
    return _load(source, or_empty=or_empty)
