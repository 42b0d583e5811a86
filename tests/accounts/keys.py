"""Entries of TOKEN_KEYS to configure with."""

import base64
import secrets

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from accounts.keyset import PrivateKey

AnyPrivateKey = PrivateKey | ed25519.Ed25519PrivateKey


def encoded(raw: bytes) -> str:
    """Return unpadded base64url."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def private_pem(key: AnyPrivateKey, *, password: bytes | None = None) -> bytes:
    encryption: KeySerializationEncryption = (
        BestAvailableEncryption(password) if password else NoEncryption()
    )
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def public_pem(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SHORT_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)
P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()
BYTES = secrets.token_bytes(32)

HS = f"hs:HS256:{encoded(BYTES)}"
RS = f"rs:RS256:{encoded(private_pem(RSA))}"
RS_PUBLIC = f"rs:RS256:{encoded(public_pem(RSA))}"
ES = f"es:ES256:{encoded(private_pem(P256))}"
ES_PUBLIC = f"es:ES256:{encoded(public_pem(P256))}"
