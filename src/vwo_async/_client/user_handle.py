"""The API methods for one user, so that a handler need not name him in every call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Unpack, overload

from .._explanation import Explanation
from .._plain import is_kind
from .._result import CampaignDecision, TrackResult
from .._user import Variables
from .call_options import (
    ActivateOptions,
    DecideAllOptions,
    DecideOptions,
    ExplainOptions,
    TrackOptions,
    UserOptions,
    VariableOptions,
    VisitorOptions,
)


class ApiMethods(Protocol):
    """What a handle needs of a client: the API methods that name a user."""

    async def activate(
        self, campaign_key: str, user_id: str, **options: Unpack[ActivateOptions]
    ) -> str | None:
        """See `VWOClient.activate`."""
        ...

    async def get_variation_name(
        self, campaign_key: str, user_id: str, **options: Unpack[DecideOptions]
    ) -> str | None:
        """See `VWOClient.get_variation_name`."""
        ...

    async def is_feature_enabled(
        self, campaign_key: str, user_id: str, **options: Unpack[ActivateOptions]
    ) -> bool:
        """See `VWOClient.is_feature_enabled`."""
        ...

    async def get_feature_variable_value(
        self,
        campaign_key: str,
        variable_key: str,
        user_id: str,
        **options: Unpack[VariableOptions],
    ) -> Any:
        """See `VWOClient.get_feature_variable_value`."""
        ...

    async def track(
        self,
        campaign_key: str | Sequence[str] | None,
        user_id: str,
        goal_identifier: str,
        **options: Unpack[TrackOptions],
    ) -> TrackResult:
        """See `VWOClient.track`."""
        ...

    @overload
    async def push(
        self, tag_key: str, tag_value: str, user_id: str, *, wait: bool | None = None
    ) -> bool: ...
    @overload
    async def push(
        self, tag_key: Mapping[str, Any], tag_value: str, *, wait: bool | None = None
    ) -> bool: ...

    async def decide(
        self, campaign_key: str, user_id: str, **options: Unpack[ActivateOptions]
    ) -> CampaignDecision:
        """See `VWOClient.decide`."""
        ...

    async def decide_all(
        self, user_id: str, **options: Unpack[DecideAllOptions]
    ) -> Mapping[str, CampaignDecision]:
        """See `VWOClient.decide_all`."""
        ...

    async def explain(
        self, campaign_key: str, user_id: str, **options: Unpack[ExplainOptions]
    ) -> Explanation:
        """See `VWOClient.explain`."""
        ...


class UserHandle:
    """The API methods for one user; made by `VWOClient.for_user`.

    The methods, their options and what they raise are the client's, less the arguments that are bound;
    an option that is given to a method wins over the one that is bound. It holds no resource: make one
    for each request, and let it go.
    """

    __slots__ = ("_client", "_id", "_variables", "_visitor")

    def __init__(
        self,
        client: ApiMethods,
        user_id: str,
        custom_variables: Variables | None = None,
        variation_targeting_variables: Variables | None = None,
        user_agent: str | None = None,
        user_ip_address: str | None = None,
    ) -> None:
        self._client = client
        self._id = user_id
        self._variables: UserOptions = {
            "custom_variables": custom_variables,
            "variation_targeting_variables": variation_targeting_variables,
        }
        self._visitor: VisitorOptions = {
            "user_agent": user_agent,
            "user_ip_address": user_ip_address,
        }

    async def activate(self, campaign_key: str, **options: Unpack[ActivateOptions]) -> str | None:
        """Assign a variation of an A/B test and report it; see `VWOClient.activate`.

        Returns:
            The name of the variation, or None.
        """
        given: ActivateOptions = {**self._variables, **self._visitor, **options}
        return await self._client.activate(campaign_key, self._id, **given)

    async def get_variation_name(
        self, campaign_key: str, **options: Unpack[DecideOptions]
    ) -> str | None:
        """Return the name of the variation, or None; report nothing; see `VWOClient.get_variation_name`."""
        given: DecideOptions = {**self._variables, **options}
        return await self._client.get_variation_name(campaign_key, self._id, **given)

    get_variation = get_variation_name

    async def is_feature_enabled(
        self, campaign_key: str, **options: Unpack[ActivateOptions]
    ) -> bool:
        """Tell whether a feature is on, and report the variation; see `VWOClient.is_feature_enabled`."""
        given: ActivateOptions = {**self._variables, **self._visitor, **options}
        return await self._client.is_feature_enabled(campaign_key, self._id, **given)

    async def get_feature_variable_value(
        self, campaign_key: str, variable_key: str, **options: Unpack[VariableOptions]
    ) -> Any:
        """Return the value of a feature variable; see `VWOClient.get_feature_variable_value`."""
        given: VariableOptions = {**self._variables, **options}
        return await self._client.get_feature_variable_value(
            campaign_key, variable_key, self._id, **given
        )

    async def track(
        self,
        campaign_key: str | Sequence[str] | None,
        goal_identifier: str,
        **options: Unpack[TrackOptions],
    ) -> TrackResult:
        """Report that the user reached a goal; see `VWOClient.track`.

        Args:
            campaign_key: A key, a list of keys, or None for every campaign that has the goal.
            goal_identifier: The goal.
            **options: ``revenue_value``, ``wait`` and the others of `VWOClient.track`.

        Returns:
            True where the documents say true; a mapping from campaign key to its reason.
        """
        given: TrackOptions = {**self._variables, **self._visitor, **options}
        return await self._client.track(campaign_key, self._id, goal_identifier, **given)

    @overload
    async def push(self, tag_key: str, tag_value: str, *, wait: bool | None = None) -> bool: ...
    @overload
    async def push(self, tag_key: Mapping[str, Any], *, wait: bool | None = None) -> bool: ...
    @overload
    async def push(
        self, *, custom_dimension_map: Mapping[str, Any], wait: bool | None = None
    ) -> bool: ...
    async def push(
        self,
        tag_key: str | Mapping[str, Any] | None = None,
        tag_value: str | None = None,
        *,
        custom_dimension_map: Mapping[str, Any] | None = None,
        wait: bool | None = None,
    ) -> bool:
        """Report custom dimensions: ``push(key, value)`` or ``push(mapping)``; see `VWOClient.push`.

        Args:
            tag_key: The key, or a mapping from keys to values.
            tag_value: The value; not with a mapping.
            custom_dimension_map: The mapping, as vwo-python-sdk names it, alone.
            wait: Await delivery; by default where ``return_promise_for`` names ``push``.

        Returns:
            Whether all was accepted for delivery; awaited, whether VWO received it.
        """
        client: Any = self._client
        if custom_dimension_map is not None:
            given = {"custom_dimension_map": custom_dimension_map, "wait": wait}
            return bool(await client.push(tag_key, tag_value, self._id, **given))
        if tag_value is None and is_kind(tag_key, Mapping):
            return bool(await client.push(tag_key, self._id, wait=wait))
        # Whatever is wrong with a key or value, the client says so.
        return bool(await client.push(tag_key, tag_value, self._id, wait=wait))

    async def decide(
        self, campaign_key: str, **options: Unpack[ActivateOptions]
    ) -> CampaignDecision:
        """Assign a variation, report it, and return it with its reason; see `VWOClient.decide`."""
        given: ActivateOptions = {**self._variables, **self._visitor, **options}
        return await self._client.decide(campaign_key, self._id, **given)

    async def decide_all(
        self, **options: Unpack[DecideAllOptions]
    ) -> Mapping[str, CampaignDecision]:
        """Return the decision of every running campaign by key; see `VWOClient.decide_all`."""
        given: DecideAllOptions = {**self._variables, **options}
        return await self._client.decide_all(self._id, **given)

    async def explain(self, campaign_key: str, **options: Unpack[ExplainOptions]) -> Explanation:
        """Return how a campaign is decided for the user, step by step; see `VWOClient.explain`."""
        given: ExplainOptions = {**self._variables, **options}
        return await self._client.explain(campaign_key, self._id, **given)

    def __repr__(self) -> str:
        return f"<UserHandle of {self._client!r}>"
