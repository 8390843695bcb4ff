"""Who vouches for a package: signatures as OpenSSF model-signing writes them.

``model.sig`` in a package's folder signs ``manifest.json`` and every file it lists; ``policy.sig``
signs ``policy.json``, which changes without a new model. Both are Sigstore bundles with an in-toto
statement in a DSSE envelope (https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md),
made offline with a local elliptic-curve key; ``model_signing verify key`` reads them too.

Signing needs ``model-signing`` (extra ``release``). Verifying needs only ``cryptography`` (extra
``verify``), so that an edge need not install what talks to transparency logs (decision 0012).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from inspection.errors import ConfigurationError, PackageError
from inspection.package import (
    MANIFEST,
    MODEL_SIGNATURE,
    POLICY,
    POLICY_SIGNATURE,
    Package,
    open_package,
    sha256,
)
from inspection.policy import UNREADABLE

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"
MAX_SIGNATURE_BYTES = 16 << 20
_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}
"""The curves that model-signing takes and what it hashes with on each."""


class _SigOfEnvelope(msgspec.Struct):
    sig: str


class _Envelope(msgspec.Struct, rename="camel"):
    payload: str
    payload_type: str
    signatures: list[_SigOfEnvelope]


class _Bundle(msgspec.Struct, rename="camel"):
    dsse_envelope: _Envelope


class _Resource(msgspec.Struct):
    name: str
    algorithm: str
    digest: str


class _Predicate(msgspec.Struct):
    resources: list[_Resource]


class _Statement(msgspec.Struct, rename={"type": "_type", "predicate_type": "predicateType"}):
    type: str
    predicate_type: str
    predicate: _Predicate


# ---------------------------------------------------------------------------------------- keys


def keygen(folder: Path, name: str) -> tuple[Path, Path]:
    """A new key pair on the curve P-256: ``NAME.key``, which nobody else may read, and ``NAME.pub``
    to hand out. Returns both paths; raises `ConfigurationError` where one is there already."""
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    key = ec.generate_private_key(ec.SECP256R1())
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, mode, data in (
            (private, 0o600, secret),
            (public, 0o644, _pem(key.public_key())),
        ):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
    except FileExistsError as error:
        raise ConfigurationError(
            f"{error.filename}: is there already: a key that has signed is not replaced;"
            " choose another name"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{folder}: {error.strerror}") from None
    return private, public


def _pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _private_key(path: Path) -> None:
    """Raises `ConfigurationError` where this is no private key or others may read it."""
    try:
        status = path.stat()
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: private key: {error.strerror}") from None
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(
            f"{path}: others may read this private key (mode {stat.S_IMODE(status.st_mode):o}):"
            f" chmod 600 {path}, and make a new pair if anybody has"
        )
    try:
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"{path}: no private key that can be used: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _HASHES:
        raise ConfigurationError(f"{path}: no key on one of the curves {', '.join(_HASHES)}")


def _public_key(path: Path) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path}: public key: {error.strerror}") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"{path}: no public key that can be used: {error}") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
        raise ConfigurationError(f"{path}: no key on one of the curves {', '.join(_HASHES)}")
    return key


# ------------------------------------------------------------------------------------- signing


def sign_package(path: Path, private_key: Path) -> None:
    """Check a package and write ``model.sig`` and ``policy.sig`` into its folder, in place of
    older ones. Raises `PackageError` for a package that is not whole, `ConfigurationError` for a
    key that may not be used."""
    from model_signing import hashing, signing

    _private_key(private_key)
    open_package(path)
    apart = [path.resolve() / name for name in (POLICY, MODEL_SIGNATURE, POLICY_SIGNATURE)]
    what = _config(hashing).set_ignored_paths(paths=apart, ignore_git_paths=False)
    aside = path.parent / f".{path.name}.{MODEL_SIGNATURE}"
    try:
        config = _config(signing).use_elliptic_key_signer(private_key=private_key)
        config.set_hashing_config(what).sign(path.resolve(), aside)
        _put(aside, path / MODEL_SIGNATURE)
    finally:
        aside.unlink(missing_ok=True)
    sign_file(path / POLICY, private_key, path / POLICY_SIGNATURE)


def sign_file(path: Path, private_key: Path, signature: Path) -> None:
    """Sign one file, such as ``policy.json``, into ``signature``."""
    from model_signing import hashing, signing

    _private_key(private_key)
    aside = signature.with_name(f".{signature.name}.part")
    try:
        # Without paths to ignore: those would be written into the signature as they stand.
        what = _config(hashing).set_ignored_paths(paths=(), ignore_git_paths=False)
        config = _config(signing).use_elliptic_key_signer(private_key=private_key)
        config.set_hashing_config(what).sign(path.resolve(), aside)
        _put(aside, signature)
    except OSError as error:
        raise PackageError(f"{path}: cannot be signed: {error.strerror}") from None
    finally:
        aside.unlink(missing_ok=True)


def _config(module: Any) -> Any:
    """A module's configuration; model-signing leaves its constructors untyped."""
    return module.Config()


def _put(aside: Path, path: Path) -> None:
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    aside.replace(path)


# ----------------------------------------------------------------------------------- verifying


def verify_package(path: Path, public_keys: Sequence[Path]) -> str:
    """Who signed this package and its policy: the stem of the public key's file name, or
    ``MODEL, policy by OTHER`` where two did.

    Raises `PackageError` where a file has changed, a signature is missing, of an unknown key, or of
    other files; `ConfigurationError` where a public key cannot be read.
    """
    return verify_opened(open_package(path), public_keys)


def verify_opened(package: Package, public_keys: Sequence[Path]) -> str:
    """The same for a package in hand: whoever goes on to use its ``content`` uses the bytes that
    were signed, whatever lies in the folder by then."""
    path = package.path
    files = {MANIFEST: package.ref.package, **package.manifest.files}
    model = _verify(path / MODEL_SIGNATURE, files, public_keys)
    policy = _verify(path / POLICY_SIGNATURE, {None: package.ref.policy}, public_keys)
    return model if model == policy else f"{model}, policy by {policy}"


def verify_file(path: Path, signature: Path, public_keys: Sequence[Path]) -> str:
    """Who signed this one file; raises as `verify_package` does."""
    try:
        digest = sha256(path.read_bytes())
    except OSError as error:
        raise PackageError(f"{path}: {error.strerror}") from None
    return _verify(signature, {None: digest}, public_keys)


def signed(path: Path) -> bool:
    """Whether a package carries both signatures, whoever made them."""
    return (path / MODEL_SIGNATURE).is_file() and (path / POLICY_SIGNATURE).is_file()


def _verify(
    signature: Path, files: Mapping[str, str] | Mapping[None, str], public_keys: Sequence[Path]
) -> str:
    """The name of the key that signed exactly these files. A single file goes without a name:
    None stands for whatever it is called."""
    if not public_keys:
        raise ConfigurationError("no public key to verify with: name one or more with --key")
    keys = {path.stem: _public_key(path) for path in public_keys}
    try:
        if signature.stat().st_size > MAX_SIGNATURE_BYTES:
            raise PackageError(f"{signature}: larger than a signature is")
        bundle = msgspec.json.decode(signature.read_bytes(), type=_Bundle)
        envelope = bundle.dsse_envelope
        payload = base64.b64decode(envelope.payload, validate=True)
        (entry,) = envelope.signatures
        raw = base64.b64decode(entry.sig, validate=True)
    except FileNotFoundError:
        raise PackageError(
            f"{signature.parent}: not signed ({signature.name} is missing):"
            " sign it with 'inspection models sign'"
        ) from None
    except (*UNREADABLE, ValueError, binascii.Error) as error:
        raise PackageError(f"{signature}: no signature of a model: {error}") from None
    kind = envelope.payload_type.encode()
    said = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    signer = next((name for name, key in keys.items() if _signed_by(key, raw, said)), None)
    if signer is None:
        raise PackageError(
            f"{signature}: signed by none of the known keys ({', '.join(keys)}), or changed"
        )
    # Only now is the payload worth reading: before, anybody may have written it.
    try:
        if envelope.payload_type != PAYLOAD_TYPE:
            raise PackageError(f"{signature}: signs a {envelope.payload_type!r}, not a model")
        statement = msgspec.json.decode(payload, type=_Statement)
    except UNREADABLE as error:
        raise PackageError(f"{signature}: no statement of a model: {error}") from None
    if (statement.type, statement.predicate_type) != (STATEMENT, PREDICATE):
        raise PackageError(f"{signature}: signs a {statement.predicate_type!r}, not a model")
    resources = statement.predicate.resources
    if any(entry.algorithm != "sha256" for entry in resources):
        raise PackageError(f"{signature}: made with other hashes than SHA-256: sign it again")
    got = {entry.name: entry.digest for entry in resources}
    if None in files:
        if len(resources) != 1 or [entry.digest for entry in resources] != [*files.values()]:
            raise PackageError(
                f"{signature}: signs another file than the one beside it: it has changed since"
            )
    elif len(got) != len(resources) or got != files:
        names = {name for name in {*got, *files} if got.get(str(name)) != dict(files).get(name)}
        worst = min(map(str, names), default="a name twice")
        raise PackageError(f"{signature}: signs another {worst!r} than lies in the package")
    return signer


def _signed_by(key: ec.EllipticCurvePublicKey, raw: bytes, said: bytes) -> bool:
    try:
        key.verify(raw, said, ec.ECDSA(_HASHES[key.curve.name]()))
    except InvalidSignature:
        return False
    return True


def fingerprint(public_key: Path) -> str:
    """SHA-256 of a public key's PEM, as the signatures name it."""
    return hashlib.sha256(_pem(_public_key(public_key))).hexdigest()
