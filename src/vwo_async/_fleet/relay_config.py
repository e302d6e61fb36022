"""The file that tells ``vwo-async relay`` what to do: TOML, without any key."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._error import InvalidInputError
from .relay_account import RelayAccount

DEFAULT_URL = "redis://127.0.0.1:6379/0"
# The options of `Relay` that the file may hold.
OPTIONS = {
    "prefix": str,
    "shards": int,
    "workers": int,
    "lease_s": float,
    "events_per_s": float,
    "max_dead": int,
    "transport": str,
    "proxy": str,
}
# The options of `RelayAccount` that it may hold.
_ACCOUNT_OPTIONS = ("product", "base_url", "gateway_service", "proxy_url")
_ACCOUNT_NAMES = {"account_id", "sdk_key_env", *_ACCOUNT_OPTIONS}


@dataclass(frozen=True)
class RelayConfig:
    """What the file says.

    Attributes:
        redis_url: The server; may hold a password, and is not shown.
        accounts: In whose name to deliver.
        options: For `Relay`.
    """

    redis_url: str = field(repr=False)
    accounts: tuple[RelayAccount, ...]
    options: Mapping[str, Any]


def read_config(text: str, environment: Mapping[str, str] = os.environ) -> RelayConfig:
    """Return what a file says; keys and, where it is not in the file, the URL come from the environment.

    Args:
        text: The file: ``redis_url_env``, options of `Relay`, and a table ``[[accounts]]`` for each account.
        environment: Variables by name.

    Raises:
        InvalidInputError: The file cannot be used, or a variable that it names is not set.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInputError(f"the file is no TOML: {error}") from None
    _check_names("the file", data, {*OPTIONS, "accounts", "redis_url", "redis_url_env"})
    accounts = data.get("accounts")
    if not isinstance(accounts, list) or not accounts:
        raise InvalidInputError("the file names no account: it needs a table [[accounts]]")
    return RelayConfig(
        _read_url(data, environment),
        tuple(_read_account(one, environment) for one in accounts),
        {name: _read_option(name, data[name]) for name in OPTIONS if name in data},
    )


def _check_names(what: str, data: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse names that mean nothing: what was meant would not hold.

    Raises:
        InvalidInputError: There are some; the text says which ones there may be.
    """
    unknown = [repr(one) for one in data if one not in known]
    if unknown:
        raise InvalidInputError(
            f"{what} has unknown names: {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )


def _read_url(data: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    if "redis_url" in data:
        return str(data["redis_url"])
    name = data.get("redis_url_env")
    if name is None:
        return environment.get("VWO_REDIS_URL", DEFAULT_URL)
    return _read_variable(name, environment)


def _read_option(name: str, value: Any) -> Any:
    kind = OPTIONS[name]
    is_number = kind is float and type(value) is int
    if type(value) is not kind and not is_number:
        raise InvalidInputError(f"{name} must be of type {kind.__name__}")
    return value


def _read_account(data: Any, environment: Mapping[str, str]) -> RelayAccount:
    if not isinstance(data, dict) or not {"account_id", "sdk_key_env"} <= data.keys():
        raise InvalidInputError("an account needs account_id and sdk_key_env")
    _check_names("an account", data, _ACCOUNT_NAMES)
    return RelayAccount(
        data["account_id"],
        _read_variable(data["sdk_key_env"], environment),
        **{name: data[name] for name in _ACCOUNT_OPTIONS if name in data},
    )


def _read_variable(name: Any, environment: Mapping[str, str]) -> str:
    value = environment.get(str(name), "")
    if not value:
        raise InvalidInputError(f"the environment variable {name} is not set")
    return value
