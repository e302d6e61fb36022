"""What an observer of a client is told, and the pseudonyms under which it and the log know users."""

import hashlib
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ._error import InvalidInputError
from ._reason import Reason
from ._result import Statistics

Product: TypeAlias = Literal["fullstack", "fme"]
Purpose: TypeAlias = Literal["events", "settings", "gateway"]
Pseudonymizer: TypeAlias = Callable[[str], str]

# Without a salt of the service's own, pseudonyms mean nothing outside this process.
_PROCESS_SALT = secrets.token_bytes(32)
_PSEUDONYM_BYTES = 8


def make_pseudonymizer(salt: str | bytes | None) -> Pseudonymizer:
    """Return what gives each user id a pseudonym of 16 hexadecimal digits: a hash with *salt* as its key.

    Args:
        salt: Of any length; None for one that is drawn at random for each process.
    """
    given = _PROCESS_SALT if salt is None else salt.encode() if isinstance(salt, str) else salt
    # A key of this hash may have 64 bytes.
    keyed = hashlib.blake2b(digest_size=_PSEUDONYM_BYTES, key=hashlib.blake2b(given).digest())

    def name_user(user_id: str) -> str:
        one = keyed.copy()
        one.update(user_id.encode("utf-8", "surrogatepass"))
        return one.hexdigest()

    return name_user


class Evaluation:
    """One decision as an API method has returned it: of a feature flag, an A/B test or a rollout.

    It holds the user's id, and shows it in no repr.

    Attributes:
        product: ``fullstack`` or ``fme``.
        api: The method's name, such as ``get_flag`` or ``activate``.
        key: The key of the feature or campaign as the caller gave it.
        reason: How the decision was come by, or why nothing was given.
        is_enabled: Whether the feature is on; None for an A/B test, and where there is no such campaign.
        variation_name: The variation, None where none was given.
        user_id: The user's id as the caller gave it; None where it is no user id.
        account_id: The account of the settings in force, as a text.
        settings_version: Their version, as a text.
    """

    __slots__ = (
        "_name_user",
        "account_id",
        "api",
        "is_enabled",
        "key",
        "product",
        "reason",
        "settings_version",
        "user_id",
        "variation_name",
    )

    def __init__(
        self,
        product: Product,
        api: str,
        key: str,
        reason: Reason,
        is_enabled: bool | None,
        variation_name: str | None,
        user_id: str | None,
        account_id: str,
        settings_version: str,
        name_user: Pseudonymizer,
    ) -> None:
        self.product = product
        self.api = api
        self.key = key
        self.reason = reason
        self.is_enabled = is_enabled
        self.variation_name = variation_name
        self.user_id = user_id
        self.account_id = account_id
        self.settings_version = settings_version
        self._name_user = name_user

    @property
    def is_on(self) -> bool:
        """Whether the feature is on, or the A/B test gave a variation."""
        return self.variation_name is not None if self.is_enabled is None else self.is_enabled

    @property
    def pseudonym(self) -> str | None:
        """What stands for the user in the log: a hash of the id with the launch option ``pseudonym_salt``."""
        return None if self.user_id is None else self._name_user(self.user_id)

    def __repr__(self) -> str:
        return f"<Evaluation {self.api} {self.key[:100]!a}: {self.variation_name!a} ({self.reason.value})>"


@dataclass(frozen=True, slots=True)
class RequestReport:
    """One request to VWO, or to what stands in its place, once it has ended. It holds no key and no user.

    Attributes:
        product: ``fullstack`` or ``fme``.
        purpose: ``events``, ``settings``, or ``gateway`` for a question to the gateway service of FME.
        method: ``GET`` or ``POST``.
        base_url: Scheme, host and at most port and path; None for a transport of the service's own.
        path: What follows in the URL, without the query.
        body_bytes: The size of its body.
        status: The HTTP status, None where no answer came.
        failure: Why none came, in a word: ``not_sent``, ``unknown`` or ``unsendable``; empty where one came.
        began_at: Seconds since the epoch.
        took_s: How long it took, in seconds.
    """

    product: Product
    purpose: Purpose
    method: str
    base_url: str | None
    path: str
    body_bytes: int
    status: int | None
    failure: str
    began_at: float
    took_s: float


class ObservedClient:
    """A client that has been opened, as its observers see it.

    Args:
        product: ``fullstack`` or ``fme``.
        statistics: Returns its ledger.

    Attributes:
        product: As above.
    """

    __slots__ = ("__weakref__", "_statistics", "product")

    def __init__(self, product: Product, statistics: Callable[[], Statistics]) -> None:
        self.product: Product = product
        self._statistics = statistics

    def statistics(self) -> Statistics:
        """Return the ledger as it stands; may be called from any thread."""
        return self._statistics()


class Observer:
    """Is told what clients do: derive from it, and give it those methods that matter to you.

    The launch option ``observers`` takes any number of them, and one may serve several clients. The methods
    are plain functions, called at once in the thread and context of what they tell of, so they must not block.
    What one raises is logged and counted (``callback_errors``), and changes nothing for the call.
    """

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Take note of a decision, in the context of its caller; not of users who have opted out."""

    def on_request(self, request: RequestReport) -> None:
        """Take note of a request that has ended."""

    def on_open(self, client: ObservedClient) -> None:
        """Take note of a client that has been opened."""

    def on_close(self, client: ObservedClient) -> None:
        """Take note that it is closed: its ledger does not change any more."""


def read_observers(value: object) -> tuple[Observer, ...]:
    """Return the observers that somebody gave, as the text of an option's error wants them.

    Raises:
        InvalidInputError: There is something else among them.
    """
    given = [*value] if isinstance(value, Iterable) else [value]
    observers = tuple(one for one in given if isinstance(one, Observer))
    if len(observers) != len(given):
        raise InvalidInputError("must be instances of vwo_async.observer.Observer")
    return observers
