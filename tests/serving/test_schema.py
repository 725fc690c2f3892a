"""Requests that schemathesis makes up from the OpenAPI description: none of them may break the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error

from rung.runs import Run

from .conftest import Shades, serving


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    run = Run.create(tmp_path_factory.mktemp("schema") / "run", "shades", {"status": "finished"})
    with serving(run, predictor=Shades(), examples=False) as address:
        yield schemathesis.openapi.from_url(f"{address}/openapi.json")


# Not by its own plugin for pytest, which this pytest is too new for.
def test_no_request_breaks_the_server(schema: Any) -> None:
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy())
        @settings(max_examples=15, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
        def one(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=[not_a_server_error])

        one()
        tried += 1
    assert tried >= 17
