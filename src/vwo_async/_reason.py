"""Why a campaign was or was not decided, tracked or counted."""

from enum import StrEnum


class Reason(StrEnum):
    """One word for every way a decision or a conversion can end."""

    TRACKED = "tracked"
    """The conversion was accepted; where delivery was awaited, VWO received it."""

    ASSIGNED = "assigned"
    """The user was bucketed into a variation."""
    STORED = "stored"
    """The variation comes from the user storage."""
    WHITELISTED = "whitelisted"
    """The variation is forced for this user."""

    INVALID_INPUT = "invalid_input"
    """An argument cannot be used."""
    OPTED_OUT = "opted_out"
    """The client was told to track nothing."""
    CAMPAIGN_NOT_FOUND = "campaign_not_found"
    """The settings file has no campaign of this key."""
    CAMPAIGN_NOT_RUNNING = "campaign_not_running"
    """The campaign is paused, stopped or not yet started."""
    CAMPAIGN_TYPE_MISMATCH = "campaign_type_mismatch"
    """This API does not apply to campaigns of this type."""
    STORAGE_REQUIRED = "storage_required"
    """A multi-armed bandit campaign needs a user storage."""
    GOAL_NOT_FOUND = "goal_not_found"
    """The campaign has no goal of this identifier; asked for all campaigns, none has."""
    GOAL_TYPE_MISMATCH = "goal_type_mismatch"
    """The goal is not of the type asked for by goal_type_to_track."""
    REVENUE_REQUIRED = "revenue_required"
    """A revenue goal needs a revenue value (0 and an empty text count as none) or the property it names."""
    NOT_ACTIVATED = "not_activated"
    """With a user storage, only activate and is_feature_enabled may assign a variation."""
    NOT_IN_SEGMENT = "not_in_segment"
    """The custom variables do not match the campaign's pre-segmentation."""
    NOT_IN_TRAFFIC = "not_in_traffic"
    """The campaign admits a share of all users, and this one is not in it."""
    NOT_GROUP_WINNER = "not_group_winner"
    """Another campaign of the same mutually exclusive group has this user, or none won."""
    NO_VARIATION = "no_variation"
    """The user is in the campaign, but no variation owns his bucket value."""
    ALREADY_TRACKED = "already_tracked"
    """The user storage says that this conversion was counted before."""

    STORAGE_ERROR = "storage_error"
    """The user storage failed, and ``on_storage_error`` says not to go on without it."""

    QUEUE_FULL = "queue_full"
    """The event queue had no room, so nothing was accepted."""
    NOT_DELIVERED = "not_delivered"
    """Delivery was awaited and failed; the outcome of the delivery says why."""
    PENDING = "pending"
    """Delivery was awaited and had not ended when the wait did, which while VWO is known to be down or to
    refuse the account is at once; it goes on."""
