"""Values of classes of the caller's own, whose methods raise: they count as what they are, or are bad input."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from sample import campaign, settings
from sample import variation as make_variation

from vwo_async import (
    DeliveryError,
    FMEClient,
    FMEUser,
    InvalidInputError,
    Reason,
    SettingsError,
    SettingsSource,
    VWOClient,
    fetch_settings,
    launch,
    parse_fme_settings,
    parse_settings,
)
from vwo_async._client.options import LaunchOptions
from vwo_async.storage import MemoryUserStorage
from vwo_async.testing import RecordingTransport

pytestmark = pytest.mark.anyio

FME_FILE = Path(__file__).parent.parent / "examples" / "fme_settings.json"
# What makes an object at all, and what the language itself asks of a class.
_NEEDED = {
    *("__class__", "__class_getitem__", "__del__", "__dict__", "__doc__", "__getattribute__"),
    *("__init__", "__init_subclass__", "__module__", "__new__", "__slots__", "__subclasshook__"),
}


class TheirError(RuntimeError):
    """What a class of the caller's own raises."""


def fail(*arguments: Any, **options: Any) -> Any:
    """Stand for any method of a hostile class."""
    raise TheirError("private")


def hostile(base: type, *spared: str) -> type:
    """Return a class derived from *base* of which every method raises but those *spared*."""
    names = {name for name in dir(base) if callable(getattr(base, name))}
    methods = dict.fromkeys(names - _NEEDED - {*spared}, fail)
    # A class that defines how it compares has no hash of its own accord.
    return type(f"Own{base.__name__}", (base,), {"__hash__": base.__hash__, **methods})


def make(plain: Any) -> Any:
    """Return *plain* as a value of a hostile class."""
    return hostile(type(plain))(plain)


def make_key(plain: Any) -> Any:
    """Return *plain* as a value of a hostile class that a dict takes as a key."""
    return hostile(type(plain), "__hash__")(plain)


class NoClass:
    """Raises when it is asked for its class."""

    @property
    def __class__(self) -> Any:
        raise TheirError("private")

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise TheirError("private")


class Mute:
    """Raises whatever it is asked."""

    __bool__ = __eq__ = __hash__ = __str__ = __repr__ = __iter__ = __len__ = fail
    __getattr__ = fail


class OwnMapping(Mapping[str, Any]):
    """A mapping that raises when it is read."""

    __getitem__ = __contains__ = get = items = keys = fail

    def __iter__(self) -> Iterator[str]:
        raise TheirError("private")

    def __len__(self) -> int:
        raise TheirError("private")


class Foreign:
    """A key that is found where *text* is looked up, and raises when it is compared with it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __hash__(self) -> int:
        return hash(self.text)

    __eq__ = fail


class OwnUser(FMEUser):
    """A user whose fields raise."""

    __slots__ = ()
    __getattribute__ = fail


FIELDS = (
    *(
        "campaignKey",
        "userId",
        "variationName",
        "goalIdentifier",
        "metaData",
        "plan",
        "price",
        "id",
    ),
    *("customVariables", "platform_variables", "location", "userAgent", "webTestingCampaigns"),
)
VALUES: dict[str, Any] = {
    "str": make("checkout"),
    "goal": make("signup"),
    "feature": make("search"),
    "empty": make(""),
    "surrogate": make("\ud800"),
    "int": make(7),
    "float": make(1.5),
    "decimal": hostile(Decimal, "__new__")("1.5"),
    "dict": hostile(dict)(plan="pro"),
    "keys": {make_key(name): make("pro") for name in FIELDS},
    "foreign": {Foreign(name): "pro" for name in FIELDS},
    "values": {name: make("pro") for name in FIELDS},
    "numbers": {name: make(1.5) for name in FIELDS},
    "nested": {name: {make_key("plan"): [make("pro")], "a": Mute()} for name in FIELDS},
    "mappings": {"id": "Ashley", **{name: OwnMapping() for name in FIELDS if name != "id"}},
    "list": hostile(list)(["checkout"]),
    "set": hostile(set)(["checkout"]),
    "tuple": hostile(tuple)(("checkout",)),
    "keys of a list": [make("checkout"), make_key("cart"), NoClass()],
    "mapping": OwnMapping(),
    "no class": NoClass(),
    "mute": Mute(),
    "poser": Mock(spec=str),
    "mapping poser": Mock(spec=dict),
    "user": OwnUser("Ashley"),
}

CHECKOUT = ("checkout", "Ashley")
FULLSTACK: dict[str, tuple[Any, ...]] = {
    "activate": CHECKOUT,
    "get_variation_name": CHECKOUT,
    "is_feature_enabled": ("search", "Ashley"),
    "get_feature_variable_value": ("search", "size", "Ashley"),
    "track": (*CHECKOUT, "purchase"),
    "push": ("plan", "pro", "Ashley"),
    "decide_all": ("Ashley",),
    "explain": CHECKOUT,
    "get_and_update_settings_file": (888888, "another key"),
}
FME: dict[str, tuple[Any, ...]] = {
    "get_flag": ("search", "Ashley"),
    "get_flags": ("Ashley",),
    "track_event": ("purchase", "Ashley"),
    "set_attribute": ("plan", "pro", "Ashley"),
}


def places(client: type, calls: Mapping[str, tuple[Any, ...]]) -> list[tuple[Any, str, int | str]]:
    """Return each argument of each method, by its position or its name."""
    found: list[tuple[Any, str, int | str]] = []
    for name, arguments in calls.items():
        parameters = inspect.signature(getattr(client, name)).parameters
        found += [(client, name, index) for index in range(len(arguments))]
        found += [(client, name, one) for one in list(parameters)[len(arguments) + 1 :]]
    return found


def make_client(client: Any, *, strict: bool = False, with_storage: bool = False) -> Any:
    """Return a client whose events go nowhere."""
    size = [{"id": 1, "key": "size", "type": "integer", "value": 10}]
    on = [make_variation(1, "Control", 100, variables=size, isFeatureEnabled=True)]
    rules = {"or": [{"custom_variable": {"plan": "wildcard(*r*)"}}]}
    file = settings(
        campaign(11, "checkout", segments={"not": rules}),
        campaign(12, "search", "FEATURE_TEST", variations=on),
        isEventArchEnabled=with_storage,
    )
    if client is FMEClient:
        file = json.loads(FME_FILE.read_text())
    return client(
        file,
        user_storage=MemoryUserStorage() if with_storage else None,
        transport=RecordingTransport(),
        # Nobody listens there: settings cannot be fetched.
        base_url="http://127.0.0.1:9",
        strict=strict,
    )


async def call(client: Any, name: str, place: int | str, value: Any) -> Any:
    """Call a method with *value* in one place."""
    arguments, options = list((FME if isinstance(client, FMEClient) else FULLSTACK)[name]), {}
    if isinstance(place, int):
        arguments[place] = value
    else:
        options[place] = value
    return await getattr(client, name)(*arguments, **options)


PLACES = [*places(VWOClient, FULLSTACK), *places(FMEClient, FME)]


@pytest.mark.parametrize("with_storage", [False, True])
@pytest.mark.parametrize(("client", "method", "place"), PLACES)
async def test_no_method_lets_their_error_out(
    client: Any, method: str, place: int | str, *, with_storage: bool
) -> None:
    """Whatever stands in whichever place, a call ends; with strict it may raise InvalidInputError alone."""
    for strict in (False, True):
        async with make_client(client, strict=strict, with_storage=with_storage) as own:
            for value in VALUES.values():
                with suppress(*([InvalidInputError] if strict else [])):
                    await call(own, method, place, value)
            statistics = own.statistics()
            assert not [one for one in statistics.dropped if one == "unserializable"]


@pytest.mark.parametrize(
    ("client", "method", "place"), [one for one in PLACES if isinstance(one[2], int)]
)
async def test_a_derived_text_is_the_text(client: Any, method: str, place: int) -> None:
    """A value of a derived class counts as the plain value that it is, not as bad input."""
    if method == "get_and_update_settings_file":
        return
    plain = (FME if client is FMEClient else FULLSTACK)[method][place]
    async with make_client(client, strict=True) as own:
        one = await call(own, method, place, make(plain))
        other = await call(own, method, place, plain)
    assert describe(one) == describe(other)


def describe(value: Any) -> Any:
    """Return what a method answered, in a form that compares."""
    if isinstance(value, Mapping) and not hasattr(value, "as_json"):
        return {key: describe(one) for key, one in value.items()}
    return value.as_json() if hasattr(value, "as_json") else value


async def test_derived_values_are_sent_as_plain_ones() -> None:
    """Of a hostile class, id, goal and revenue arrive at VWO as they are, and are plain in the result."""
    async with make_client(VWOClient) as client:
        transport = client._options.transport
        result = await client.track(
            [make("checkout")],
            make("Ashley"),
            make("purchase"),
            revenue_value=make(49.5),
            custom_variables={make_key("plan"): make("x")},
            wait=True,
        )
        assert result
        assert [type(key) for key in result] == [str]
        assert "r=49.5" in transport.requests[-1].target


async def test_a_derived_variable_decides() -> None:
    """A custom variable of a hostile class holds in a segment as the plain text does."""
    async with make_client(VWOClient) as client:
        for value in ("pro", make("pro")):
            result = await client.track(*CHECKOUT, "signup", custom_variables={"plan": value})
            assert result["checkout"].reason is Reason.NOT_IN_SEGMENT


async def test_opting_out() -> None:
    """A derived id can be opted out and in; anything that is no id is bad input."""
    async with make_client(VWOClient) as client:
        client.opt_out_user(make("Ashley"))
        assert (await client.track(*CHECKOUT, "signup")).reason is Reason.OPTED_OUT
        client.opt_in_user(make("Ashley"))
        assert await client.track(*CHECKOUT, "signup")
        for value in (NoClass(), Mute(), Mock(spec=str), make("")):
            for choose in (client.opt_out_user, client.opt_in_user):
                with pytest.raises(InvalidInputError, match="user_id"):
                    choose(value)


@pytest.mark.parametrize("name", VALUES)
def test_no_file_lets_their_error_out(name: str) -> None:
    """What is no settings file, or holds what raises, is a SettingsError, whoever reads it."""
    value = VALUES[name]
    for read in (parse_settings, parse_fme_settings, VWOClient, FMEClient):
        with pytest.raises(SettingsError):
            read(value)


@pytest.mark.parametrize("derive", [str, str.encode, lambda text: bytearray(text.encode())])
def test_a_file_of_a_derived_class(derive: Callable[[str], Any]) -> None:
    """A text or bytes of a derived class is the file that it holds."""
    plain = derive(json.dumps(settings()))
    parsed = parse_settings(hostile(type(plain))(plain))
    assert parsed == parse_settings(settings())


@pytest.mark.parametrize("option", sorted(LaunchOptions.__annotations__))
def test_no_option_lets_their_error_out(option: str) -> None:
    """A launch option that raises is one that cannot be used."""
    for value in VALUES.values():
        for make_one in (VWOClient, launch):
            with suppress(InvalidInputError):
                make_one(settings(), **{option: value})


@pytest.mark.parametrize("name", VALUES)
async def test_no_source_lets_their_error_out(name: str) -> None:
    """An account or key that cannot be used is bad input before anything is sent."""
    for arguments in ((VALUES[name], "key"), (1, VALUES[name])):
        with suppress(InvalidInputError):
            SettingsSource(*arguments)
        with suppress(InvalidInputError, DeliveryError):
            await fetch_settings(*arguments, base_url="http://127.0.0.1:9")


ROWS: list[Callable[[], Any]] = [
    OwnMapping,
    Mute,
    lambda: hostile(dict)(userId="Ashley", campaignKey="checkout", variationName="Control"),
    lambda: {"userId": make("Ashley"), "campaignKey": make("checkout"), "variationName": make("C")},
    lambda: {make_key(one): "Control" for one in FIELDS},
    lambda: {Foreign(one): "Control" for one in FIELDS},
    lambda: {"featureKey": make("search"), "userId": make("Ashley"), "experimentKey": make("k")},
    NoClass,
]


@pytest.mark.parametrize("client", [VWOClient, FMEClient])
@pytest.mark.parametrize("index", range(len(ROWS)))
async def test_a_storage_may_return_anything(client: Any, index: int) -> None:
    """A row of the user storage whose class raises is a storage that failed, or no record."""

    class Own:
        async def get(self, user_id: str, campaign_key: str) -> Any:
            return ROWS[index]()

        async def set(self, data: Any) -> None:
            pass

    async with make_client(client, with_storage=True) as own:
        file = own.settings
    async with client(file, user_storage=Own(), transport=RecordingTransport()) as own:
        for name, arguments in (FME if client is FMEClient else FULLSTACK).items():
            if name != "get_and_update_settings_file":
                await getattr(own, name)(*arguments)
