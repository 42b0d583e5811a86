"""The schema is what the server does: requests made out of it, answers checked against it.

Schemathesis makes both requests that fit the schema and requests that don't.
"""

from typing import Any

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from notifications.models import Topic
from tests.api.conftest import Api
from tests.selectors import rows

pytestmark = pytest.mark.django_db(transaction=True)


@schemathesis.serializer("application/x-ndjson")
def lines(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Send the text that the schema asks for as it is."""
    return str(value).encode()


SCHEMA = schemathesis.openapi.from_wsgi("/api/schema/?format=json", get_wsgi_application())
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@SCHEMA.parametrize()
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_the_schema_holds(case: schemathesis.Case[Any], admin: Api) -> None:
    Topic.objects.get_or_create(
        name="a.b",
        defaults={
            "partition_id": 0,
            "seq": 1,
            "created_at": rows.NOW,
            "last_published_at": rows.NOW,
        },
    )
    case.call_and_validate(headers={"Authorization": f"Api-Key {admin.key}"}, checks=CHECKS)
