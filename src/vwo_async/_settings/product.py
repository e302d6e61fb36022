"""The two products, whose settings files look alike: what tells a file of one from a file of the other."""

from __future__ import annotations

from collections.abc import Iterable

from .campaign_type import FME_TYPES, FULLSTACK_TYPES

FME_FILE = "the file is a v2 settings file of VWO FME: give it to FMEClient"
FULLSTACK_FILE = "the file is a settings file of VWO FullStack: give it to VWOClient"


def refuse_fme(value: object) -> None:
    """Refuse what only files of FME have, such as features.

    Raises:
        ValueError: It is there.
    """
    if value is not None:
        raise ValueError(FME_FILE)


def refuse_fullstack(value: object) -> None:
    """Refuse what only files of FullStack have, such as a campaign's goals.

    Raises:
        ValueError: It is there.
    """
    if value is not None:
        raise ValueError(FULLSTACK_FILE)


def check_fullstack_type(campaign_type: str) -> str:
    """Return the type of a campaign; refuse those of FME.

    Raises:
        ValueError: It is one.
    """
    if campaign_type in FME_TYPES:
        raise ValueError(FME_FILE)
    return campaign_type


def check_fme_type(campaign_type: str) -> str:
    """Return the type of a campaign; refuse those of FullStack.

    Raises:
        ValueError: It is one.
    """
    if campaign_type in FULLSTACK_TYPES:
        raise ValueError(FULLSTACK_FILE)
    return campaign_type


def keep_wrong_product(faults: Iterable[str]) -> list[str]:
    """Return *faults*; if one says that the file is of the other product, it alone, for the others follow."""
    found = list(faults)
    for fault in found:
        for wrong in (FME_FILE, FULLSTACK_FILE):
            if fault.endswith(wrong):
                return [wrong]
    return found
