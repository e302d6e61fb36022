"""A stand-in for the gateway service: the same answers for each SDK, and a server that gives them to ours.

What it knows is part of a case: the place of each address, the device of each user agent, the owner of each
alias, and the aliases that cannot be set. What it says of a list follows from the text that it is asked about,
so that an SDK that asks about another text gets another answer. fme_oracle.mjs has the same answers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Json = dict[str, Any]

DETAILS, LIST = "/get-user-details", "/check-attribute"
FIND_USER, SET_ALIAS = "/user-alias/getAliasUserId", "/user-alias/setUserAlias"
LIST_ANSWERS = (True, False, "true", "false", True, None, {"status": 0}, "", 1, 0)


def is_of_gateway(path: str) -> bool:
    """Tell whether it is the gateway service that a request asks."""
    return path in (DETAILS, LIST, FIND_USER, SET_ALIAS)


def answer(known: Mapping[str, Any], target: str) -> Any:
    """Return what the gateway answers, as JSON would be decoded.

    Args:
        known: What it knows; see fme_generate.py.
        target: Path and query.
    """
    url = urlsplit(target)
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    if url.path == DETAILS:
        return find_details(known, query.get("ipAddress", ""), query.get("userAgent", ""))
    if url.path == LIST:
        return ask_list(query["listId"], query["attribute"])
    if url.path == SET_ALIAS:
        return {"isAliasSet": query["aliasId"] not in known["refused"]}
    asked, aliases = json.loads(query["userId"]), known["aliases"]
    return [{"aliasId": one, "userId": aliases[one]} for one in asked if one in aliases]


def find_details(known: Mapping[str, Any], address: str, agent: str) -> Json:
    """Return what is known of an address and a user agent."""
    found = {"location": known["places"].get(address), "userAgent": known["devices"].get(agent)}
    return {name: one for name, one in found.items() if one is not None}


def ask_list(name: str, text: str) -> Any:
    """Return whether a list holds a text, in one of the forms in which a gateway may say so."""
    return LIST_ANSWERS[sum(map(ord, name + text)) % len(LIST_ANSWERS)]


def read_alias(target: str) -> list[str] | None:
    """Return the user and the alias that a request sets; None for any other request."""
    url = urlsplit(target)
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    return [query["userId"], query["aliasId"]] if url.path == SET_ALIAS else None


@asynccontextmanager
async def serve(known: Mapping[str, Any], aliased: list[list[str]]) -> AsyncIterator[str]:
    """Run a gateway on this machine, and yield its URL.

    Args:
        known: What it knows.
        aliased: Takes the user and the alias of each request that sets one.
    """
    writers: set[asyncio.StreamWriter] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = dict(one.lower().split(": ", 1) for one in head[1:] if one)
                await reader.readexactly(int(headers.get("content-length", 0)))
                target = head[0].split(" ")[1]
                told = read_alias(target)
                if told is not None:
                    aliased.append(told)
                body = json.dumps(answer(known, target)).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for one in writers:
            one.close()
