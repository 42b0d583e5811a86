"""The last resort below /api/: unknown paths, and failures that no view was there to meet.

config/urls.py names the three handlers. Elsewhere on the site they leave the answer to Django.
"""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt

from notifications.api.problems import NothingHere, problem
from notifications.errors import BadFrame, InternalError

PREFIX = "/api/"


@csrf_exempt
def unknown_path(request: HttpRequest) -> HttpResponse:
    """Answer 404 for a path below /api/ that leads nowhere, with DEBUG on too."""
    return problem(NothingHere("There is no such path; /api/docs/ lists those that are."))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer 400 for a request that Django refuses before any view, such as a strange host."""
    if request.path.startswith(PREFIX):
        return problem(BadFrame("Send a well-formed request to a host name of this site."))
    return defaults.bad_request(request, exception)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer 404."""
    if request.path.startswith(PREFIX):
        return unknown_path(request)
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest, *_: Any) -> HttpResponseBase:
    """Answer 500; Django has logged why."""
    if request.path.startswith(PREFIX):
        return problem(InternalError("The server failed on this request; its log says why. Retry."))
    return defaults.server_error(request)
