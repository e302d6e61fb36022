"""The API methods that decide, and how they differ in deciding."""

from __future__ import annotations

from dataclasses import dataclass

from .._settings.campaign_type import AB_TEST, FEATURE_ROLLOUT, FEATURE_TEST, FULLSTACK_TYPES


@dataclass(frozen=True, slots=True)
class Api:
    """One deciding API method.

    Attributes:
        name: The method's name.
        types: The campaign types that it applies to.
        assigns: With a user storage, whether it may assign a variation to a user without a record. The
            other methods need a record (``activate`` must have been called before).
        refuses_mab: Whether it refuses a multi-armed bandit campaign when there is no user storage.
        sends: Whether it sends an event, so that the caller can wait for its delivery.
    """

    name: str
    types: frozenset[str]
    assigns: bool = False
    refuses_mab: bool = False
    sends: bool = False


ACTIVATE = Api("activate", frozenset({AB_TEST}), assigns=True, refuses_mab=True, sends=True)
GET_VARIATION_NAME = Api("get_variation_name", frozenset({AB_TEST, FEATURE_TEST}))
IS_FEATURE_ENABLED = Api(
    "is_feature_enabled",
    frozenset({FEATURE_TEST, FEATURE_ROLLOUT}),
    assigns=True,
    refuses_mab=True,
    sends=True,
)
GET_FEATURE_VARIABLE_VALUE = Api(
    "get_feature_variable_value",
    frozenset({FEATURE_TEST, FEATURE_ROLLOUT}),
)
DECIDE = Api("decide", FULLSTACK_TYPES, assigns=True, refuses_mab=True, sends=True)
DECIDE_ALL = Api("decide_all", FULLSTACK_TYPES, assigns=True, refuses_mab=True)
TRACK = Api("track", frozenset({AB_TEST, FEATURE_TEST}), refuses_mab=True, sends=True)
APIS = (
    ACTIVATE,
    GET_VARIATION_NAME,
    IS_FEATURE_ENABLED,
    GET_FEATURE_VARIABLE_VALUE,
    DECIDE,
    DECIDE_ALL,
    TRACK,
)
