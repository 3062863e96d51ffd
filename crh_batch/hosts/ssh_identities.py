"""A user's keys, as ssh finds them: those of the agent, those in files, and certificates of either."""

from __future__ import annotations

import base64
import contextlib
import io
import socket
from collections.abc import Generator, Iterator, Sequence

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from paramiko.agent import AgentSSH
from paramiko.pkey import PublicBlob

from crh_batch.hosts.base import Asker
from crh_batch.hosts.ssh_options import SshOptions

# The end of the types of keys that are certificates (PROTOCOL.certkeys of OpenSSH).
_CERTIFICATE = "-cert-v01@openssh.com"
# What reading a key may raise, besides that a passphrase is needed.
_UNREADABLE = (ValueError, TypeError, paramiko.SSHException, UnsupportedAlgorithm, OSError)


def identities(options: SshOptions, ask: Asker, tried: list[str]) -> Generator[tuple[paramiko.PKey, str]]:
    """Give keys one after another, with their names: of the agent those that are named as identities first, then files.

    A certificate of a key comes before the key alone, as with ssh.

    Args:
        ask: for passphrases.
        tried: what could not be used is added, with the reason.
    """
    named = {public: path for path in options.identities if (public := _public_part(path))}
    seen = set()
    with _agent(options) as agent:
        for key in sorted(agent.plain, key=lambda key: key.asbytes() not in named):
            path = named.get(key.asbytes(), "")
            if path or not options.identities_only:
                seen.add(key.asbytes())
                certificates = [*agent.certificates, *_certificate_files(options, path)]
                yield from _with_certificates(key, f"{key.get_name()} of the agent", certificates)
        for key in agent.certified:
            if not options.identities_only or any(_is_of(key.blob, public) for public in named):
                yield key, f"{key.get_name()} of the agent"
    for path in options.identities:
        if _public_part(path) in seen:
            continue
        loaded = _load(path, options, ask, tried)
        if loaded is not None:
            yield from _with_certificates(loaded, path, _certificate_files(options, path))


def _public_part(path: str) -> bytes:
    """Return what lies in the public half of a key file; empty if there is none."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(path + ".pub", encoding="ascii") as stream:
        return base64.b64decode(stream.read().split()[1])
    return b""


# ---- certificates


def _certificate_files(options: SshOptions, path: str) -> list[PublicBlob]:
    """Return the certificates in files that may be of a key: the one beside it, and those that the user names."""
    found = []
    for file in (f"{path}-cert.pub" if path else "", *options.certificates):
        # One that can't be read is no reason to leave out the key.
        with contextlib.suppress(ValueError, IndexError, OSError, paramiko.SSHException):
            found.append(PublicBlob.from_file(file))
    return found


def _with_certificates(
    key: paramiko.PKey, name: str, certificates: Sequence[PublicBlob]
) -> Iterator[tuple[paramiko.PKey, str]]:
    for certificate in certificates:
        if _is_of(certificate.key_blob, key.asbytes()):
            # paramiko sends it in place of the key's own public half.
            key.public_blob = certificate
            yield key, f"a certificate of {name}"
    key.public_blob = None
    yield key, name


def _is_of(certificate: bytes, public: bytes) -> bool:
    """Return whether a certificate is of a key: the key's numbers stand in both.

    PROTOCOL.certkeys of OpenSSH: behind its type and a nonce are the fields that a key's blob has behind its type.
    """
    whole, own = paramiko.Message(certificate), paramiko.Message(public)
    if whole.get_text() != own.get_text().partition("@")[0] + _CERTIFICATE:
        return False
    whole.get_binary()
    return whole.get_remainder().startswith(own.get_remainder())


# ---- the agent


class _Agent(AgentSSH):
    """The agent that listens at a socket; paramiko's own class knows that of SSH_AUTH_SOCK alone.

    Args:
        path: the socket; empty for none.

    Raises:
        OSError: nobody listens there.
        SSHException: it is no agent.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.plain: list[paramiko.AgentKey] = []
        self.certificates: list[PublicBlob] = []
        # Of these it has the certificate alone.
        self.certified: list[paramiko.AgentKey] = []
        if path:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(path)
                self._connect(connection)  # type: ignore[attr-defined]  # the stubs leave it out
            except BaseException:
                connection.close()
                raise
            self._sort()

    def _sort(self) -> None:
        keys = self.get_keys()
        self.plain += [key for key in keys if not key.get_name().endswith(_CERTIFICATE)]
        for key in keys:
            if key.get_name().endswith(_CERTIFICATE):
                certificate = PublicBlob(key.get_name(), key.blob)
                self.certificates.append(certificate)
                if not any(_is_of(key.blob, one.asbytes()) for one in self.plain):
                    # paramiko takes it for a plain key, and would sign in the name of one.
                    key.inner_key = None  # type: ignore[attr-defined]  # as above
                    key.public_blob = certificate  # type: ignore[assignment]
                    self.certified.append(key)

    def close(self) -> None:
        """End the connection to it."""
        self._close()  # type: ignore[attr-defined]


@contextlib.contextmanager
def _agent(options: SshOptions) -> Iterator[_Agent]:
    """Give the agent, as long as it may be asked to sign; one without keys if there is none."""
    try:
        agent = _Agent(options.agent)
    except (paramiko.SSHException, OSError, ValueError):
        agent = _Agent("")
    try:
        yield agent
    finally:
        agent.close()


# ---- files


def _load(path: str, options: SshOptions, ask: Asker, tried: list[str]) -> paramiko.PKey | None:
    for attempt in range(3):
        passphrase = ask(f"Passphrase for {path}: ", secret=True) if attempt else None
        if attempt and passphrase is None:
            tried.append(f"{path} (needs its passphrase, and there is no terminal: use an agent)")
            return None
        try:
            return _read_key(path, passphrase)
        except paramiko.PasswordRequiredException:
            continue
        except _UNREADABLE as error:
            # With a passphrase: a wrong one. Without: what paramiko and cryptography say of an encrypted key depends on
            # their versions and on the key's format.
            if attempt or any(word in str(error).lower() for word in ("passphrase", "password", "encrypted")):
                continue
            tried.append(f"{path} ({error})")
            return None
    tried.append(f"{path} (wrong passphrase)")
    return None


def _read_key(path: str, passphrase: str | None) -> paramiko.PKey:
    """Return a private key of whichever type.

    Raises:
        PasswordRequiredException: it is encrypted.
        ValueError, TypeError, SSHException, UnsupportedAlgorithm, OSError: it can't be read, or by another passphrase.
    """
    with open(path, "rb") as stream:
        content = stream.read()
    try:
        return _by_cryptography(content, passphrase)
    except _UNREADABLE:
        return _by_paramiko(path, passphrase)


def _by_cryptography(content: bytes, passphrase: str | None) -> paramiko.PKey:
    """Read a key in a way around a fault of paramiko, which refuses some keys by the length of their comments.

    https://github.com/paramiko/paramiko/issues/2445
    """
    is_of_openssh = b"BEGIN OPENSSH PRIVATE KEY" in content
    load = forms.load_ssh_private_key if is_of_openssh else forms.load_pem_private_key
    key = load(content, passphrase.encode() if passphrase is not None else None)
    if isinstance(key, RSAPrivateKey):
        return paramiko.RSAKey(key=key)
    if isinstance(key, EllipticCurvePrivateKey):
        return paramiko.ECDSAKey(vals=(key, key.public_key()))
    if isinstance(key, Ed25519PrivateKey):
        anew = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.OpenSSH, forms.NoEncryption())
        return paramiko.Ed25519Key.from_private_key(io.StringIO(anew.decode()))
    raise ValueError(f"a key of a type that is not supported: {type(key).__name__}")


def _by_paramiko(path: str, passphrase: str | None) -> paramiko.PKey:
    """Read a key as paramiko does; its PKey.from_path (5.0) takes no passphrase that is text."""
    why: Exception = paramiko.SSHException("no key of a type that is known")
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key_file(path, passphrase)
        except paramiko.PasswordRequiredException:
            raise
        except (ValueError, TypeError, paramiko.SSHException) as error:
            why = error
    raise why
