"""Who vouches for a package: signatures made offline, checked without what made them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from inspection.errors import ConfigurationError, InspectionError, PackageError
from inspection.package import open_package
from inspection.signing import keygen, sign_file, sign_package, verify_file, verify_package
from inspection.testing.packages import build_package, repolicy

pytest.importorskip("model_signing")
from model_signing import verifying


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return build_package(tmp_path / "package")


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return keygen(tmp_path / "keys", "quality")


def test_a_signed_package_opens_and_says_who_signed(package: Path, keys: tuple[Path, Path]) -> None:
    before = open_package(package).ref
    sign_package(package, keys[0])
    assert open_package(package).ref == before
    assert verify_package(package, [keys[1]]) == "quality"


def test_the_signatures_are_those_of_openssf_model_signing(
    package: Path, keys: tuple[Path, Path]
) -> None:
    sign_package(package, keys[0])
    with_key = verifying.Config().use_elliptic_key_verifier(public_key=keys[1])
    with_key.set_ignore_unsigned_files(True).verify(package, package / "model.sig")
    verifying.Config().use_elliptic_key_verifier(public_key=keys[1]).verify(
        package / "policy.json", package / "policy.sig"
    )


def test_a_signature_does_not_say_where_it_was_made(
    package: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    import base64

    sign_package(package, keys[0])
    for name in ("model.sig", "policy.sig"):
        bundle = json.loads((package / name).read_bytes())
        payload = base64.b64decode(bundle["dsseEnvelope"]["payload"]).decode()
        assert str(tmp_path) not in payload


def test_a_package_may_move_after_it_was_signed(
    package: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    sign_package(package, keys[0])
    moved = package.rename(tmp_path / "elsewhere")
    assert verify_package(moved, [keys[1]]) == "quality"


@pytest.mark.parametrize("name", ["model.onnx", "CARD.md", "manifest.json", "golden/golden.json"])
def test_a_changed_file_is_refused(package: Path, keys: tuple[Path, Path], name: str) -> None:
    sign_package(package, keys[0])
    data = bytearray((package / name).read_bytes())
    data[len(data) // 2] ^= 1
    (package / name).write_bytes(data)
    with pytest.raises(PackageError):
        verify_package(package, [keys[1]])


def test_a_package_made_anew_under_an_old_signature_is_refused(
    package: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    sign_package(package, keys[0])
    other = build_package(tmp_path / "other", name="other")
    for name in ("model.sig", "policy.sig"):
        (other / name).write_bytes((package / name).read_bytes())
    open_package(other)  # whole in itself
    with pytest.raises(PackageError, match=r"model\.sig: signs another"):
        verify_package(other, [keys[1]])


def test_another_policy_needs_another_signature(package: Path, keys: tuple[Path, Path]) -> None:
    sign_package(package, keys[0])
    repolicy(package, version=2, ok_min=0.5)
    with pytest.raises(PackageError, match=r"policy\.sig: signs another file"):
        verify_package(package, [keys[1]])
    sign_file(package / "policy.json", keys[0], package / "policy.sig")
    assert verify_package(package, [keys[1]]) == "quality"


def test_two_signers_are_both_named(package: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    sign_package(package, keys[0])
    private, public = keygen(tmp_path / "keys", "shift-lead")
    sign_file(package / "policy.json", private, package / "policy.sig")
    assert verify_package(package, [keys[1], public]) == "quality, policy by shift-lead"
    with pytest.raises(PackageError, match="none of the known keys"):
        verify_package(package, [public])


def test_an_unknown_signer_is_refused(
    package: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    stranger, _ = keygen(tmp_path / "stranger", "quality")  # the name proves nothing
    sign_package(package, stranger)
    with pytest.raises(PackageError, match="signed by none of the known keys"):
        verify_package(package, [keys[1]])


@pytest.mark.parametrize("name", ["model.sig", "policy.sig"])
def test_a_missing_signature_is_refused(package: Path, keys: tuple[Path, Path], name: str) -> None:
    sign_package(package, keys[0])
    (package / name).unlink()
    with pytest.raises(PackageError, match=f"not signed .{name} is missing"):
        verify_package(package, [keys[1]])


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{}",
        b"\xff\xfe",
        b'{"dsseEnvelope": {"payload": "?", "payloadType": "", "signatures": []}}',
    ],
)
def test_a_signature_that_is_none_is_refused_with_a_sentence(
    package: Path, keys: tuple[Path, Path], damage: bytes
) -> None:
    sign_package(package, keys[0])
    (package / "model.sig").write_bytes(damage)
    with pytest.raises(PackageError, match="no signature of a model"):
        verify_package(package, [keys[1]])


def test_a_changed_statement_is_refused_before_it_is_read(
    package: Path, keys: tuple[Path, Path]
) -> None:
    sign_package(package, keys[0])
    bundle = json.loads((package / "model.sig").read_bytes())
    bundle["dsseEnvelope"]["payload"] = "bm8ganNvbg=="
    (package / "model.sig").write_text(json.dumps(bundle))
    with pytest.raises(PackageError, match="none of the known keys"):
        verify_package(package, [keys[1]])


def test_a_private_key_that_others_may_read_is_not_used(
    package: Path, keys: tuple[Path, Path]
) -> None:
    keys[0].chmod(0o640)
    with pytest.raises(ConfigurationError, match="others may read"):
        sign_package(package, keys[0])
    assert not (package / "model.sig").exists()


def test_a_new_private_key_is_for_its_owner_only_and_never_replaced(tmp_path: Path) -> None:
    private, _ = keygen(tmp_path, "quality")
    assert private.stat().st_mode & 0o777 == 0o600
    before = private.read_bytes()
    with pytest.raises(ConfigurationError, match="is there already"):
        keygen(tmp_path, "quality")
    assert private.read_bytes() == before


def test_keys_of_other_kinds_are_refused(package: Path, tmp_path: Path) -> None:
    for number, key in enumerate(
        (ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256K1()))
    ):
        path = tmp_path / f"{number}.key"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        path.chmod(0o600)
        with pytest.raises(ConfigurationError, match="curves"):
            sign_package(package, path)


def test_one_file_is_signed_and_verified(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    file, signature = tmp_path / "policy.json", tmp_path / "policy.sig"
    file.write_bytes(b"{}")
    sign_file(file, keys[0], signature)
    assert verify_file(file, signature, [keys[1]]) == "quality"
    file.write_bytes(b"{ }")
    with pytest.raises(InspectionError, match="another file"):
        verify_file(file, signature, [keys[1]])


def test_verifying_needs_neither_model_signing_nor_sigstore() -> None:
    script = (
        "import sys; import inspection.signing;"
        " assert not {'model_signing', 'sigstore'} & {m.partition('.')[0] for m in sys.modules}"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
