"""A daemon's OpenAPI 3.1 document, made from its routes and from the very types that validate what they take.

Parameters come from a route's query type, bodies from its body type, and answers from what its handler is declared to
return, so that the document says what the type checker has checked. Bounds that only `reploc/names.py` can check are
told to readers by the types too (`reploc/wire.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from reploc import __version__
from reploc.connection import PROBLEM
from reploc.errors import Problem
from reploc.routes import JSON, MSGPACK, NDJSON, Also, Reply, Route, Stream

#: A JSON document, or a part of one: OpenAPI has no types of its own here.
Json = dict[str, Any]

OPENAPI_VERSION = "3.1.0"
_REF = "#/components/schemas/{name}"
#: What can go wrong with any request, by range of statuses.
_WRONG = {"4XX": "The request was refused, and changed nothing", "5XX": "The service could not do it"}


def document(title: str, routes: Sequence[Route[Any]]) -> Json:
    """The document that describes these routes, ready to be encoded as JSON."""
    kinds = list(dict.fromkeys([Problem, *(kind for route in routes for kind in _kinds(route))]))
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    schema_of = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": OPENAPI_VERSION,
        "info": {"title": title, "version": __version__, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": components},
    }


def _kinds(route: Route[Any]) -> Iterator[Any]:
    """Every message type of a route that stands among the components; queries become parameters instead."""
    if route.takes_body:
        yield route.kind
    yield from _messages(route)
    yield from _lines(route)
    yield from (also.kind for also in route.also if also.kind is not None)


def _operation(route: Route[Any], schema_of: dict[Any, Json]) -> Json:
    operation: Json = {"summary": route.summary, "operationId": _operation_id(route)}
    if route.takes_body:
        operation["requestBody"] = {"required": True, "content": _either(schema_of[route.kind])}
    elif parameters := list(_parameters(route.kind)):
        operation["parameters"] = parameters
    return operation | {"responses": _responses(route, schema_of)}


def _operation_id(route: Route[Any]) -> str:
    return "_".join([route.method.lower(), *route.path.replace(".", "/").strip("/").split("/")])


def _parameters(kind: type[Any]) -> Iterator[Json]:
    """The fields of a query type; one that may be left out is never null, since a query string has no null."""
    _, components = msgspec.json.schema_components([kind], ref_template=_REF)
    described = components[kind.__name__]
    for name, schema in described["properties"].items():
        required = name in described["required"]
        yield {"name": name, "in": "query", "required": required, "schema": _without_null(schema)}


def _without_null(schema: Json) -> Json:
    kept = {key: value for key, value in schema.items() if key != "anyOf" and (key, value) != ("default", None)}
    choices = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    return kept | (choices[0] if len(choices) == 1 else {"anyOf": choices} if choices else {})


def _responses(route: Route[Any], schema_of: dict[Any, Json]) -> Json:
    content: Json = {}
    for kind in _messages(route):
        content |= _either(schema_of[kind])
    for kind in _lines(route):
        content[NDJSON] = {"schema": {"type": "string"}, "itemSchema": schema_of[kind]}
    said: Json = {"200": {"description": route.summary, "content": content}} if content else {}
    for also in route.also:
        _add(said, also, schema_of)
    problem = {PROBLEM: {"schema": schema_of[Problem]}}
    return said | {range_: {"description": why, "content": problem} for range_, why in _WRONG.items()}


def _add(said: Json, also: Also, schema_of: dict[Any, Json]) -> None:
    """Adds an answer beside the message to the answers of its status."""
    answer = said.setdefault(str(also.status), {"description": also.summary})
    if also.media:
        schema = schema_of[also.kind] if also.kind is not None else {"type": "string"}
        answer.setdefault("content", {})[also.media] = {"schema": schema}
    if also.headers:
        answer["headers"] = {name: {"description": why, "schema": {"type": "string"}} for name, why in also.headers}


def _either(schema: Json) -> Json:
    return {media: {"schema": schema} for media in (JSON, MSGPACK)}


def _returned(route: Route[Any]) -> tuple[Any, ...]:
    """What the handler is declared to return, one by one."""
    returned = get_type_hints(route.handler).get("return")
    return get_args(returned) if get_origin(returned) not in (None, Stream) else (returned,)


def _messages(route: Route[Any]) -> Iterator[type[msgspec.Struct]]:
    """The messages that a handler returns, which travel as JSON or MessagePack."""
    for kind in _returned(route):
        if isinstance(kind, type) and kind is not Reply and issubclass(kind, msgspec.Struct):
            yield kind


def _lines(route: Route[Any]) -> Iterator[Any]:
    """The types of the lines that a handler streams."""
    for kind in _returned(route):
        if get_origin(kind) is Stream:
            yield from get_args(kind)
