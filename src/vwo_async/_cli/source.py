"""Where a settings file comes from: a file, standard input, or VWO."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from cyclopts import Parameter

from .._delivery.transport.by_name import make_fetcher
from .._delivery.transport.config import TransportConfig
from .._delivery.transport.protocol import VWO_BASE_URL, Fetcher
from .._error import DeliveryError, SettingsError
from .._refresh.fetch import fetch_body, read_account
from .._sdk_key import SdkKey
from .._settings import parse_fme_settings, parse_settings
from .._settings.endpoint import FME, FULLSTACK, SettingsEndpoint
from .._settings.product import FME_FILE
from .._version import USER_AGENT
from .exit_code import CommandError, ExitCode
from .subject import FMESubject, FullStackSubject, Subject

# The name of a file, where a hyphen is standard input.
FileName: TypeAlias = Annotated[str, Parameter(allow_leading_hyphen=True)]
STANDARD_INPUT = "-"
KEY_VARIABLE = "VWO_SDK_KEY"
_HINT = "give --settings FILE (-s), or --account with the SDK key in VWO_SDK_KEY"


@Parameter(name="*")
@dataclass(frozen=True)
class Source:
    """Where the settings come from.

    Attributes:
        settings: The settings file of either product; '-' is standard input.
        account: The account whose settings VWO is asked for. The SDK key is read from VWO_SDK_KEY, or asked for.
        base_url: Where VWO is asked, such as the address of a collector.
    """

    settings: Annotated[
        str, Parameter(alias="-s", env_var="VWO_SETTINGS", allow_leading_hyphen=True)
    ] = ""
    account: Annotated[str, Parameter(alias="-a", env_var="VWO_ACCOUNT_ID")] = ""
    base_url: str = VWO_BASE_URL

    def load(self) -> Subject:
        """Return the settings, compiled.

        Raises:
            CommandError: Nothing says where they are, or they cannot be used.
            DeliveryError: VWO could not be reached, or refused.
            OSError: The file cannot be read.
        """
        return self.compile(self.read())

    def compile(self, body: bytes) -> Subject:
        """Return what `read` returned, compiled; see `load`."""
        return compile_file(self.settings or f"account {self.account}", body)

    def read(self) -> bytes:
        """Return the bytes of the file; see `load`."""
        if self.settings:
            return read_bytes(self.settings)
        if not self.account:
            raise CommandError(f"there are no settings: {_HINT}")
        return asyncio.run(fetch_file(self.account, read_key(), self.base_url))


def read_bytes(name: str) -> bytes:
    """Return what is in a file, or in standard input where it is called ``-``.

    Raises:
        CommandError: There is nothing in standard input, as where it is read twice.
        OSError: The file cannot be read.
    """
    if name != STANDARD_INPUT:
        return Path(name).read_bytes()
    with open(find_standard_input(), "rb", closefd=False) as file:
        body = file.read()
    if not body:
        raise CommandError(
            "nothing is left in standard input: give '-' once, and something to read"
        )
    return body


def find_standard_input() -> int:
    """Return the number of standard input; not `sys.stdin`, which a thread must not wait for at the end of the process.

    Raises:
        CommandError: There is none.
    """
    if sys.stdin is None:
        raise CommandError("there is no standard input: give the name of a file")
    return sys.stdin.fileno()


def read_key() -> SdkKey:
    """Return the SDK key from the environment, or as it is typed, unseen.

    Raises:
        CommandError: There is neither.
        InvalidInputError: It cannot be one.
    """
    if os.environ.get(KEY_VARIABLE):
        return SdkKey.read(os.environ[KEY_VARIABLE])
    if not sys.stdin.isatty():
        raise CommandError(f"there is no SDK key: set {KEY_VARIABLE}")
    return SdkKey.read(getpass.getpass("SDK key: "))


def compile_body(body: bytes) -> Subject:
    """Return a settings file of either product, compiled.

    Raises:
        SettingsError: It cannot be used.
    """
    try:
        return FullStackSubject(parse_settings(body))
    except SettingsError as error:
        if error.faults != (FME_FILE,):
            raise
    return FMESubject(parse_fme_settings(body))


def load_file(name: str) -> Subject:
    """Return a settings file of either product, compiled; '-' for standard input.

    Raises:
        CommandError: It cannot be used.
        OSError: It cannot be read.
    """
    return compile_file(name, read_bytes(name))


def compile_file(name: str, body: bytes) -> Subject:
    """Return a settings file of either product, compiled.

    Raises:
        CommandError: It cannot be used.
    """
    try:
        return compile_body(body)
    except SettingsError as error:
        where = "standard input" if name == STANDARD_INPUT else name
        raise CommandError(f"{where}: {error}", ExitCode.SETTINGS) from None


def without_key(body: bytes) -> bytes:
    """Return a settings file, which is a JSON object, without its SDK key."""
    file: dict[str, Any] = json.loads(body)
    file.pop("sdkKey", None)
    return json.dumps(file, ensure_ascii=False, indent=2).encode()


def with_key(body: bytes) -> dict[str, Any]:
    """Return a settings file with an SDK key: its own, or that of `read_key`."""
    file: dict[str, Any] = json.loads(body)
    if not file.get("sdkKey"):
        file["sdkKey"] = read_key().get_secret_value()
    return file


async def fetch_file(account: str, key: SdkKey, base_url: str) -> bytes:
    """Return the settings file of an account, of whichever product knows account and key.

    Raises:
        DeliveryError: VWO could not be reached, or knows them in neither product.
        SettingsError: What it answers is no settings file of theirs.
    """
    account_id = read_account(account)
    fetcher = make_fetcher(TransportConfig(base_url, None, USER_AGENT))
    endpoints: tuple[SettingsEndpoint[Any], ...] = (FME, FULLSTACK)
    faults: list[DeliveryError | SettingsError] = []
    try:
        for endpoint in endpoints:
            try:
                return await _fetch(fetcher, endpoint, account_id, key, base_url)
            except (DeliveryError, SettingsError) as error:
                faults.append(error)
                if isinstance(error, DeliveryError) and error.status_code is None:
                    # Nobody answers: the other product is at the same address.
                    break
    finally:
        await fetcher.aclose()
    # A file with a fault says more than a refusal of the other product.
    raise next((one for one in faults if isinstance(one, SettingsError)), faults[-1])


async def _fetch(
    fetcher: Fetcher,
    endpoint: SettingsEndpoint[Any],
    account_id: int | str,
    key: SdkKey,
    base_url: str,
) -> bytes:
    body = await fetch_body(
        fetcher, account_id, key, via_webhook=False, endpoint=endpoint, base_url=base_url
    )
    endpoint.read(body, account_id, key)
    return body
