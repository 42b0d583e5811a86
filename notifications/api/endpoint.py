"""What every view of this door stands on."""

from typing import Any

import msgspec
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.principal import Principal


class Endpoint(APIView):
    """A view for whoever proved who they are.

    Bodies are read by notifications.api.bodies, answers are written by `answer`: REST framework
    authenticates, and turns what is raised into problems.
    """

    parser_classes = ()


def principal_of(request: Request) -> Principal:
    """Return who asks; every authentication class of this site sets it."""
    principal = request.auth
    assert isinstance(principal, Principal)
    return principal


def answer(value: Any, *, status: int = 200) -> HttpResponse:
    """Answer with a record as JSON; payloads in it are copied as they are."""
    return HttpResponse(msgspec.json.encode(value), content_type="application/json", status=status)
