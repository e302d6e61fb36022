"""What the first bytes of an answer say: the status, whatever a parser makes of the rest.

A server that has told a final status has decided on the request. Parsers refuse the whole answer for what
follows, each for something else; by this the same bytes mean the same on every transport.
"""

from __future__ import annotations

import re

# What does not begin with a status line has none. Interim answers (100, 103...) may come before the final one.
_MAX_LINE_BYTES = 64
_MAX_INTERIM_BYTES = 64_000
_LINE = re.compile(rb"HTTP/\d\.\d (\d{3})[ \r\n]")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
SWITCHING_PROTOCOLS = 101


class StatusLine:
    """Finds the final status of one answer in its bytes.

    Attributes:
        status: The status, None until it has arrived.
    """

    __slots__ = ("_begin", "_is_over", "status")

    def __init__(self) -> None:
        self.status: int | None = None
        self._begin = b""
        self._is_over = False

    def feed(self, data: bytes) -> bytes:
        """Take in the next bytes of the connection, and return what a parser may see by now.

        A parser that is shown a status line in pieces may refuse the answer before the status is known.
        """
        if self._is_over:
            return data
        begin, seen = self._begin + data, b""
        while (line := _LINE.match(begin)) is not None:
            status = int(line[1])
            if not 100 <= status < 200 or status == SWITCHING_PROTOCOLS:
                self.status = status
                break
            end = _END_OF_HEAD.search(begin, line.end() - 1)
            if end is None:
                break
            begin, seen = begin[end.end() :], seen + begin[: end.end()]
        self._begin = begin
        limit = _MAX_LINE_BYTES if line is None else _MAX_INTERIM_BYTES
        if self.status is not None or len(begin) > limit:
            self._is_over, self._begin = True, b""
            return seen + begin
        return seen
