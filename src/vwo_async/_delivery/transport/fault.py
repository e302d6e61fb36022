"""Why a request got no answer: the error of the system behind the errors of a library."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator


class ProxyRefusedError(ConnectionError):
    """A proxy did not connect to the server."""


# Each kind before those that it is a kind of.
_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (socket.gaierror, "the name of the host was not found"),
    (ssl.SSLCertVerificationError, "the certificate is not valid"),
    (ssl.SSLError, "the server speaks no TLS, or none that is trusted"),
    (ProxyRefusedError, "the proxy refused: does it want other credentials, or know the host?"),
    (ConnectionRefusedError, "the connection was refused"),
    (ConnectionError, "the connection broke"),
    (TimeoutError, "time ran out"),
    (OSError, "the network cannot be used"),
)


# What is wrong with a certificate, by the codes of OpenSSL.
_CERTIFICATES = {
    9: "it is not valid yet: is the clock right?",
    10: "it has expired",
    18: "it is signed by itself",
    19: "it is signed by an authority that is not trusted",
    20: "it is signed by an authority that is not known",
    62: "it is that of another host",
    64: "it is that of another host",
}

# How a TLS library says that it waits: that it did so is no fault.
_NO_FAULTS = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
_OWN_MODULES = frozenset({"builtins", "socket", "ssl", __name__})


def find_fault(error: BaseException) -> Exception | None:
    """Return the error of the system that *error* is owed to, without frames; None for what is none.

    The frames that it came through hold the SDK key and what visitors sent. So may the text and the
    attributes of an error that a library derived from one of the system: it is told by its kind alone.
    """
    chain = [
        one
        for one in _unfold(error)
        if isinstance(one, Exception) and not isinstance(one, _NO_FAULTS)
    ]
    for kind, words in _WORDS:
        found = [one for one in chain if isinstance(one, kind)]
        for one in found:
            if type(one).__module__ in _OWN_MODULES:
                one.__traceback__ = one.__cause__ = one.__context__ = None
                return one
        if found:
            return kind(words)
    return None


def _unfold(error: BaseException) -> Iterator[BaseException]:
    """Yield *error*, what caused it, and what is in it where it is a group."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def describe_fault(fault: BaseException | None, *, is_sent: bool = True) -> str:
    """Return what happened in words, empty for an error that `find_fault` does not know.

    Args:
        fault: As it is in an `Answer`.
        is_sent: Whether the request had begun.
    """
    if isinstance(fault, TimeoutError):
        return "time ran out before " + (
            "there was an answer" if is_sent else "there was a connection"
        )
    words = next((words for kind, words in _WORDS if isinstance(fault, kind)), "")
    if isinstance(fault, ssl.SSLCertVerificationError):
        why = _CERTIFICATES.get(getattr(fault, "verify_code", 0))
        return f"{words}: {why}" if why else words
    return words
