"""The keyword arguments of the API methods, each listed once; what they mean says the method itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from .._user import Variables
from .event_time import EventTime
from .options import GoalType


class UserOptions(TypedDict, total=False):
    """What is known of a user, for deciding.

    Attributes:
        custom_variables: For pre-segmentation: plain finite values by name.
        variation_targeting_variables: For whitelisting, in the same form.
    """

    custom_variables: Variables | None
    variation_targeting_variables: Variables | None


class DecideAllOptions(UserOptions, total=False):
    """Of `VWOClient.decide_all`.

    Attributes:
        user_storage_data: A record in the official shape that stands in for reading the storage.
    """

    user_storage_data: Mapping[str, Any] | None


class ExplainOptions(DecideAllOptions, total=False):
    """Of `VWOClient.explain`.

    Attributes:
        api: The name of the API method on whose behalf.
    """

    api: str


class DecideOptions(DecideAllOptions, total=False):
    """Of `VWOClient.get_variation_name`.

    Attributes:
        meta_data: Stored with the decision, in place of what is stored.
    """

    meta_data: Mapping[str, Any] | None


class VariableOptions(DecideOptions, total=False):
    """Of `VWOClient.get_feature_variable_value`.

    Attributes:
        default: Returned where the user has no value.
    """

    default: Any


class VisitorOptions(TypedDict, total=False):
    """What VWO is told of a visitor.

    Attributes:
        user_agent: The visitor's user agent.
        user_ip_address: The visitor's address.
    """

    user_agent: str | None
    user_ip_address: str | None


class SendingOptions(DecideOptions, VisitorOptions, total=False):
    """What the methods have in common that decide and report.

    Attributes:
        should_track_returning_user: Report users again whom the storage knows.
        wait: Await delivery.
    """

    should_track_returning_user: bool | None
    wait: bool | None


class ActivateOptions(SendingOptions, total=False):
    """Of `VWOClient.activate`, `VWOClient.is_feature_enabled` and `VWOClient.decide`.

    Attributes:
        custom_properties: On the event architecture, sent with the impression.
    """

    custom_properties: Mapping[str, Any] | None


class TrackOptions(SendingOptions, total=False):
    """Of `VWOClient.track`.

    Attributes:
        revenue_value: For a revenue goal: int, float, Decimal, or a text that spells a number, such as ``49.90``.
        goal_type_to_track: Only goals of this type.
        event_properties: On the event architecture, sent with the event.
        at: When it happened, if not now.
    """

    revenue_value: Any
    goal_type_to_track: GoalType | str | None
    event_properties: Mapping[str, Any] | None
    at: EventTime | None
