"""The SDK key, in a type that shows it nowhere: not in a repr, a pickle, a traceback or a tracer."""

from __future__ import annotations

import hmac
from typing import Any, Self

from ._error import InvalidInputError
from ._plain import is_kind, to_plain

_HIDDEN = "**********"
_LEFT_OUT = "the SDK key is left out of pickles: parse or fetch the settings in each process"


class SdkKey:
    """An SDK key.

    Whoever sends it asks for its text; everything else that looks at it sees asterisks. A pickle leaves it
    out: the copy has no text to give.

    Args:
        text: The key.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text: str | None = text

    @classmethod
    def read(cls, text: Any) -> Self:
        """Return the key that a caller gave.

        Raises:
            InvalidInputError: It is no non-empty text of printable ASCII.
        """
        try:
            if is_kind(text, cls):
                key: Self = text
                return key
            text = to_plain(text)
            if type(text) is not str or not (text and text.isascii() and text.isprintable()):
                raise InvalidInputError("sdk_key must be a non-empty text of printable ASCII")
            return cls(text)
        finally:
            # Tools that report errors show the locals of each frame.
            del text

    def get_secret_value(self) -> str:
        """Return its text.

        Raises:
            InvalidInputError: It was left out of a pickle.
        """
        if self._text is None:
            raise InvalidInputError(_LEFT_OUT)
        return self._text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SdkKey):
            return NotImplemented
        one, another = self._text or "", other._text or ""
        return hmac.compare_digest(one.encode(), another.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return f"SdkKey({_HIDDEN!r})"

    def __str__(self) -> str:
        return _HIDDEN

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return _make_left_out, ()


def _make_left_out() -> SdkKey:
    key = SdkKey("")
    key._text = None  # noqa: SLF001 - the one place that makes a key without its text
    return key
