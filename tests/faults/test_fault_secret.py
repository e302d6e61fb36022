"""Rows 57 and 58 of the failure matrix: who the SDK key and the visitors are is told to VWO alone."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
import subprocess
import sys
import textwrap
import time
import traceback
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from redact import (
    ADDRESS,
    AGENT,
    MARK,
    SECRETS,
    USER_ID,
    VARIABLES,
    chain_of,
    describe_error,
    find_secrets,
    listening,
)
from rig import Authority
from sample import ACCOUNT, KEY, SECRET, campaign, settings
from server import Received, Server, answer, running_server

from vwo_async import (
    ClosedError,
    DeliveryError,
    InvalidInputError,
    OutboxError,
    SettingsError,
    SettingsSource,
    VWOClient,
    VWOError,
    compare_settings,
    fetch_settings,
    launch,
    parse_settings,
)
from vwo_async.storage import MemoryUserStorage, StoredDecision
from vwo_async.testing import RecordingTransport
from vwo_async.transport import HttpxTransport, Limits, Request, Timeouts

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

QUICK = Limits(backoff_base_s=0.01, backoff_cap_s=0.02)
HURRIED = Timeouts(connect_s=0.3, read_s=0.3, write_s=0.3, total_s=0.6)
WHO: dict[str, Any] = {
    "custom_variables": VARIABLES,
    "variation_targeting_variables": VARIABLES,
    "user_agent": AGENT,
    "user_ip_address": ADDRESS,
}
DECIDING = {key: WHO[key] for key in ("custom_variables", "variation_targeting_variables")}
# Long enough that asyncio would call it slow, and name what it was.
SLOW_S = 0.002


@pytest.fixture(autouse=True)
def _slow_is_logged() -> Iterator[None]:
    """Nothing here; the loop of each test is told by `telling_all`."""
    yield
