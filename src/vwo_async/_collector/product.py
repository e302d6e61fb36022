"""The two products of VWO whose SDKs the collector answers, and the accounts in them."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

__all__ = ["Account", "Product"]


class Product(StrEnum):
    """A product of VWO; each has its own settings files, endpoints and events."""

    FULLSTACK = "fullstack"
    FME = "fme"

    @property
    def label(self) -> str:
        """Its name as VWO writes it."""
        return "VWO FME" if self is Product.FME else "VWO FullStack"


class Account(NamedTuple):
    """An account of one product.

    Attributes:
        product: The product; the same number may be an account of both.
        account_id: The account's number as text.
    """

    product: Product
    account_id: str
