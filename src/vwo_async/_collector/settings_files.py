"""The settings files that a collector hands out: which of them a request is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .catalogue import Catalogue
from .error import WireError
from .product import Product

__all__ = ["SettingsFiles"]


@dataclass(frozen=True, slots=True)
class SettingsFiles:
    """The settings files in force, of any number of accounts and of both products."""

    files: tuple[Catalogue, ...] = ()

    @classmethod
    def collect(cls, files: Iterable[Catalogue]) -> SettingsFiles:
        """Return these files.

        Raises:
            ValueError: Two are of the same product, account and key.
        """
        found = tuple(files)
        if len({(one.account, one.sdk_key) for one in found}) < len(found):
            raise ValueError("settings: two files are of the same product, account and key")
        return cls(found)

    def guess_product(self, sdk_key: object) -> Product:
        """Return the product of the file with a key, else that of all files; FullStack where both are open."""
        products = {one.product for one in self.files if one.sdk_key == sdk_key}
        products = products or {one.product for one in self.files}
        return Product.FME if products == {Product.FME} else Product.FULLSTACK

    def find(self, product: Product, account_id: object, sdk_key: object) -> Catalogue | None:
        """Return the file that a request is about, else the most similar one of its product.

        Returns:
            The file; None without any settings file.

        Raises:
            WireError: With status 404 where all files are of the other product.
        """
        found = [one for one in self.files if one.product is product]
        if self.files and not found:
            problem = f"this collector was given no settings file of {product.label}"
            raise WireError("path", problem, 404)
        return max(
            found,
            key=lambda one: (one.account_id == account_id, one.sdk_key == sdk_key),
            default=None,
        )

    def put(self, new: Catalogue) -> SettingsFiles:
        """Return the files with a new one.

        It takes the place of the file of its account and key; else of the only one of its account; else
        of the only one of its product. Where there is no such file it is one more.
        """
        likenesses: tuple[Callable[[Catalogue], bool], ...] = (
            lambda old: old.account == new.account and old.sdk_key == new.sdk_key,
            lambda old: old.account == new.account,
            lambda old: old.product is new.product,
        )
        for is_like in likenesses:
            alike = [one for one in self.files if is_like(one)]
            if len(alike) == 1:
                return SettingsFiles(tuple(new if one is alike[0] else one for one in self.files))
        return SettingsFiles((*self.files, new))
