"""Files that are no settings file at a glance: what was given instead, and what to do about it."""

from __future__ import annotations

import codecs
import os
import re

from .._plain import is_kind

# From the longest, since the mark of UTF-16 is the beginning of that of UTF-32.
_MARKS = (
    (codecs.BOM_UTF8, "UTF-8"),
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_PACKED = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "zip"),
    (b"\x28\xb5\x2f\xfd", "zstandard"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"x\x01", "zlib"),
    (b"x\x5e", "zlib"),
    (b"x\x9c", "zlib"),
    (b"x\xda", "zlib"),
)
# What a JSON text may begin with.
_JSON = re.compile(rb"\s*[\[{\"0-9tfn-]")
_MAX_PATH_BYTES = 4096
# One line that holds no JSON and ends as a file name does, or names a folder.
_PATH = re.compile(
    rb"(file:|~|\.{0,2}[/\\]|[A-Za-z]:[/\\])[^\n{}\[\]\"]*|[^\n{}\[\]\"]*\.json[a-z0-9]?\s*"
)
_PATH_GIVEN = "settings must be what is in the file, not its path: read it first"


def describe_path(source: object) -> str:
    """Return what is wrong with *source* if it is a path, else an empty text."""
    return _PATH_GIVEN if is_kind(source, os.PathLike) else ""


def describe_wrong_file(body: bytes) -> str:
    """Return what *body* is in place of a settings file, an empty text where it may be one."""
    if not body.strip():
        return "the file is empty"
    for mark, name in _MARKS:
        if body.startswith(mark):
            return (
                f"the file begins with the byte order mark of {name}: save it as UTF-8 without one"
            )
    for mark, name in _PACKED:
        if body.startswith(mark):
            return f"the file is compressed ({name}): unpack it first"
    if b"\0" in body[:4]:
        # A JSON text begins with two characters of ASCII.
        return "the file is in UTF-16 or UTF-32: save it as UTF-8"
    if body.lstrip().startswith(b"<"):
        return "the file is an HTML or XML page, such as an error page, and not JSON"
    if len(body) <= _MAX_PATH_BYTES and _PATH.fullmatch(body):
        return _PATH_GIVEN
    if not _JSON.match(body):
        return "the file is not JSON, but perhaps a message in words, or compressed"
    return ""
