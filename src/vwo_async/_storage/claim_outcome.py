"""What the storage says of a claim."""

from __future__ import annotations

from enum import Enum


class ClaimOutcome(Enum):
    """Whose a conversion is to count."""

    OURS = "ours"
    OTHERS = "others"
    # No answer came, and the claim may have been made.
    UNKNOWN = "unknown"
    # It is not known whose it is, but that this claim was not made: there is nothing to take back.
    NOT_MADE = "not made"

    @property
    def is_settled(self) -> bool:
        """Whether it is known who counts the conversion."""
        return self is ClaimOutcome.OURS or self is ClaimOutcome.OTHERS
