"""The REST door to tokens: log in, refresh, revoke. Mounted at /api/v1/auth/."""

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import CHALLENGE, answering_401
from accounts.refresh import TokenPair, revoke_family, rotate
from accounts.services import log_in

_REFUSALS = {
    400: OpenApiResponse(description="`BAD_FRAME`: the body is not what is described here"),
    401: OpenApiResponse(description="`UNAUTHENTICATED`: what was sent proves nothing"),
    415: OpenApiResponse(description="`BAD_FRAME`: the body is not JSON"),
    429: OpenApiResponse(description="`RATE_LIMITED`: wait as Retry-After says"),
}


class LoginSerializer(serializers.Serializer[None]):
    """A user name and its password."""

    username = serializers.CharField(max_length=150)
    # The bound keeps the slow hash from being fed megabytes.
    password = serializers.CharField(
        max_length=1024, trim_whitespace=False, style={"input_type": "password"}
    )


class RefreshSerializer(serializers.Serializer[None]):
    """A refresh token."""

    refresh = serializers.CharField(max_length=255, trim_whitespace=False)


class TokenPairSerializer(serializers.Serializer[TokenPair]):
    """The three values of a login; expiresIn is in milliseconds."""

    access = serializers.CharField(help_text="The access token, for Authorization: Bearer.")
    refresh = serializers.CharField(help_text="Good for one use, at /api/v1/auth/refresh.")
    expiresIn = serializers.IntegerField(  # the protocol's name
        source="expires_in_ms", help_text="Milliseconds that the access token is good for."
    )


class TokenEndpoint(APIView):
    """What the three have in common: the body is the only proof."""

    # None, so that a stale Authorization header does not keep a client from refreshing.
    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_scope = "auth"

    def get_authenticate_header(self, request: Request) -> str:
        """Make a refusal 401 although no authentication class is there to ask for it."""
        return CHALLENGE

    def tokens(self, pair: TokenPair) -> Response:
        """Answer with tokens, which no cache may keep (RFC 6749, 5.1)."""
        return Response(TokenPairSerializer(pair).data, headers={"Cache-Control": "no-store"})


class TokenView(TokenEndpoint):
    """POST /api/v1/auth/token."""

    @extend_schema(
        operation_id="auth_token",
        summary="Log in",
        auth=[],
        request=LoginSerializer,
        responses={200: TokenPairSerializer, **_REFUSALS},
    )
    def post(self, request: Request) -> Response:
        """Exchange a user name and a password for an access and a refresh token."""
        body = LoginSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        with answering_401():
            pair = log_in(**body.validated_data, request=request._request)
        return self.tokens(pair)


class RefreshView(TokenEndpoint):
    """POST /api/v1/auth/refresh."""

    @extend_schema(
        operation_id="auth_refresh",
        summary="Get fresh tokens",
        auth=[],
        request=RefreshSerializer,
        responses={200: TokenPairSerializer, **_REFUSALS},
    )
    def post(self, request: Request) -> Response:
        """Spend a refresh token for new tokens. One that was spent before ends its family."""
        body = RefreshSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        with answering_401():
            pair = rotate(body.validated_data["refresh"])
        return self.tokens(pair)


class RevokeView(TokenEndpoint):
    """POST /api/v1/auth/revoke."""

    @extend_schema(
        operation_id="auth_revoke",
        summary="Log out",
        auth=[],
        request=RefreshSerializer,
        responses={204: OpenApiResponse(description="The family has ended"), **_REFUSALS},
    )
    def post(self, request: Request) -> Response:
        """End the refresh token's family: its access tokens end and its sockets close."""
        body = RefreshSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        with answering_401():
            revoke_family(body.validated_data["refresh"])
        return Response(status=status.HTTP_204_NO_CONTENT)
