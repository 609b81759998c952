"""Every daemon's OpenAPI document names what is served and is kept by what is served, as schemathesis finds out."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import schemathesis
from grid import index_settings, node, until
from hypothesis import HealthCheck, Phase, assume, given, settings
from plain_http import ask
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

import lrc.server
from lrc.settings import LrcSettings
from reploc import service
from reploc.members import IndexSettings
from reploc.routes import MSGPACK

#: Requests, right ones and wrong ones, to each operation: every field is left out, wrong and extreme in some of them.
EXAMPLES = 8
ALWAYS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]
#: Operations that may refuse what their types allow, each for something that a type cannot say.
FUSSY = {
    ("GET", "/v1/lfns"): "takes a PFN or a pattern, not both and not neither",
    ("POST", "/v1/softstate"): "takes the news of a sender that has the node's own settings",
}


@schemathesis.serializer(MSGPACK)
def packed(_: schemathesis.SerializationContext, value: Any) -> bytes:
    return msgspec.msgpack.encode(value)


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[str]:
    told = LrcSettings(site="SITE", store=str(tmp_path / "store"), listen="127.0.0.1:0", index=alone())
    async with lrc.server.compose(told) as daemon, service.listening(daemon, told) as url:
        mappings = [{"lfn": f"/{number}", "pfn": f"file:///{number}", "collection": "/c"} for number in range(3)]
        await ask(url + "/v1/mappings", body={"mode": "put", "mappings": mappings})
        yield url


@pytest.fixture
async def index_node() -> AsyncIterator[str]:
    served = node("n0", index_settings(1, slots=4, renewal_interval_s=0.2, expiry_s=0.4))
    await served.start()
    await until(lambda: ask(served.url + "/readyz"), lambda said: said[0] == 200, "it is ready")
    yield served.url
    await served.stop()


def alone() -> IndexSettings:
    return IndexSettings(nodes=[], redundancy=1)


# ---- what it says ----------------------------------------------------------------------------------------------------


async def test_the_document_of_a_catalog_names_every_route_with_its_types(catalog: str) -> None:
    status, said = await ask(catalog + "/openapi.json")
    assert (status, said["openapi"], said["info"]["title"]) == (200, "3.1.0", "lrc SITE")
    paths = said["paths"]
    assert {"/openapi.json", "/healthz", "/readyz", "/metrics", "/v1/status"} < set(paths)
    (lfn,) = paths["/v1/replicas"]["get"]["parameters"]
    assert (lfn["name"], lfn["in"], lfn["required"], lfn["schema"]["maxLength"]) == ("lfn", "query", True, 4096)
    answers = paths["/v1/replicas"]["post"]["responses"]
    assert answers["200"]["content"][MSGPACK]["schema"] == {"$ref": "#/components/schemas/Replicas"}
    assert answers["4XX"]["content"]["application/problem+json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
    lines = paths["/v1/dump"]["get"]["responses"]["200"]["content"]["application/x-ndjson"]
    assert lines["itemSchema"] == {"$ref": "#/components/schemas/LfnReplica"}
    assert "503" in paths["/readyz"]["get"]["responses"]


async def test_a_parameter_that_may_be_left_out_is_optional_and_never_null(catalog: str) -> None:
    _, said = await ask(catalog + "/openapi.json")
    parameters = {each["name"]: each for each in said["paths"]["/v1/lfns"]["get"]["parameters"]}
    assert not any(each["required"] for each in parameters.values())
    assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 1_000}
    assert parameters["after"]["schema"]["type"] == "string"
    assert "null" not in str(parameters)


async def test_every_operation_says_what_it_answers(catalog: str, index_node: str) -> None:
    for url in (catalog, index_node):
        _, said = await ask(url + "/openapi.json")
        for path, methods in said["paths"].items():
            for method, operation in methods.items():
                assert min(operation["responses"]) < "4", f"{method} {path}"
                assert operation["summary"], f"{method} {path}"


# ---- that it is kept -------------------------------------------------------------------------------------------------


async def test_a_catalog_keeps_its_document(catalog: str) -> None:
    await asyncio.to_thread(keeps_its_document, catalog)


async def test_an_index_node_keeps_its_document(index_node: str) -> None:
    await asyncio.to_thread(keeps_its_document, index_node)


def keeps_its_document(url: str) -> None:
    """Asks every operation what its types allow, which it must take, and what they do not, which it must refuse."""
    schema = schemathesis.openapi.from_url(url + "/openapi.json")
    for found in schema.get_all_operations():
        operation = found.ok()
        fussy = (operation.method.upper(), operation.path) in FUSSY
        for_right = [*ALWAYS, *([] if fussy else [positive_data_acceptance])]
        exercise(operation.as_strategy(generation_mode=GenerationMode.POSITIVE), for_right)
        if operation.query or operation.body:
            wrong = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
            exercise(wrong, [*ALWAYS, negative_data_rejection])


def exercise(cases: Any, checks: list[Any]) -> None:
    """Sends some of the cases; the same ones each time, so that a change that breaks nothing fails nothing."""

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def sent(case: Case) -> None:
        assume(fits(case))
        case.call_and_validate(checks=checks)

    sent()


def fits(case: Case) -> bool:
    """Whether a request keeps what JSON Schema cannot say: names are bounded in bytes, no integer is written 1.0, and
    MessagePack has no integers beyond 64 bits."""
    values = list(plain_values([case.query or {}, case.body]))
    return not any(
        (isinstance(value, str) and len(value.encode(errors="replace")) > 4096)
        or (isinstance(value, float) and value.is_integer())
        or (isinstance(value, int) and not -(1 << 63) <= value < 1 << 64)
        for value in values
    )


def plain_values(value: Any) -> Iterator[Any]:
    """All values inside lists and objects."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from plain_values(inner)
    else:
        yield value
