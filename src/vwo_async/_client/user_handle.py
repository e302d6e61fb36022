"""The API methods for one user, so that a handler need not name him in every call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._explanation import Explanation
from .._result import CampaignDecision, TrackResult
from .._user import Variables

if TYPE_CHECKING:
    from .client import VWOClient


class UserHandle:
    """The API methods for one user; made by `VWOClient.for_user`.

    The methods are the client's, less the arguments that are bound; what is given to a method wins.
    """

    __slots__ = ("_agent", "_client", "_id", "_variables")

    def __init__(
        self,
        client: VWOClient,
        user_id: str,
        custom_variables: Variables | None,
        variation_targeting_variables: Variables | None,
        user_agent: str | None,
        user_ip_address: str | None,
    ) -> None:
        self._client = client
        self._id = user_id
        self._variables: dict[str, Any] = {
            "custom_variables": custom_variables,
            "variation_targeting_variables": variation_targeting_variables,
        }
        self._agent: dict[str, Any] = {
            "user_agent": user_agent,
            "user_ip_address": user_ip_address,
        }

    async def activate(self, campaign_key: str, **options: Any) -> str | None:
        """See `VWOClient.activate`."""
        given = {**self._variables, **self._agent, **options}
        return await self._client.activate(campaign_key, self._id, **given)

    async def get_variation_name(self, campaign_key: str, **options: Any) -> str | None:
        """See `VWOClient.get_variation_name`."""
        given = {**self._variables, **options}
        return await self._client.get_variation_name(campaign_key, self._id, **given)

    async def is_feature_enabled(self, campaign_key: str, **options: Any) -> bool:
        """See `VWOClient.is_feature_enabled`."""
        given = {**self._variables, **self._agent, **options}
        return await self._client.is_feature_enabled(campaign_key, self._id, **given)

    async def get_feature_variable_value(
        self, campaign_key: str, variable_key: str, **options: Any
    ) -> Any:
        """See `VWOClient.get_feature_variable_value`."""
        given = {**self._variables, **options}
        return await self._client.get_feature_variable_value(
            campaign_key, variable_key, self._id, **given
        )

    async def track(
        self, campaign_key: str | Sequence[str] | None, goal_identifier: str, **options: Any
    ) -> TrackResult:
        """See `VWOClient.track`."""
        given = {**self._variables, **self._agent, **options}
        return await self._client.track(campaign_key, self._id, goal_identifier, **given)

    async def push(self, tags: Mapping[str, Any], *, wait: bool | None = None) -> bool:
        """See `VWOClient.push`; *tags* maps keys to values."""
        return await self._client.push(tags, self._id, wait=wait)

    async def decide_all(self, **options: Any) -> Mapping[str, CampaignDecision]:
        """See `VWOClient.decide_all`."""
        return await self._client.decide_all(self._id, **{**self._variables, **options})

    async def explain(self, campaign_key: str, **options: Any) -> Explanation:
        """See `VWOClient.explain`."""
        given = {**self._variables, **options}
        return await self._client.explain(campaign_key, self._id, **given)

    def __repr__(self) -> str:
        return f"<UserHandle of {self._client!r}>"
