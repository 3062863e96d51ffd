"""A user's keys, as ssh finds them: those of the agent, those in files, and certificates of either."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import socket
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from paramiko.agent import AgentSSH
from paramiko.pkey import PublicBlob
from paramiko.util import asbytes

from crh_batch.hosts.base import Asker
from crh_batch.hosts.ssh_options import SshOptions

# The end of the types of keys that are certificates (PROTOCOL.certkeys of OpenSSH).
_CERTIFICATE = "-cert-v01@openssh.com"
# What OpenSSH's own private keys begin with.
_OPENSSH_KEY = b"openssh-key-v1\0"
_MOST_BYTES = 1 << 20
# How long an agent may take to say which keys it has, and to sign: somebody may have to touch a device or to agree.
_LIST_S = 10.0
_SIGN_S = 100.0
# The first byte of a request to sign, and of its answer (draft-ietf-sshm-ssh-agent).
_SIGN, _SIGNED = 13, 14
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
                for one in _with_certificates(key, f"{key.get_name()} of the agent", certificates):
                    yield one
                    agent.explain(tried)
        for key in agent.certified:
            if not options.identities_only or any(_is_of(key.blob, public) for public in named):
                yield key, f"{key.get_name()} of the agent"
                agent.explain(tried)
    for path in options.identities:
        if _public_part(path) in seen:
            continue
        loaded = _load(path, options, ask, tried)
        if loaded is not None:
            yield from _with_certificates(loaded, path, _certificate_files(options, path))


def _public_part(path: str) -> bytes:
    """Return the public half of a key, as ssh finds it: in the file itself or beside it; empty if it isn't there."""
    return _public_line(path) or _public_line(f"{path}.pub") or _public_of_private(path)


def _public_line(path: str) -> bytes:
    with contextlib.suppress(OSError, ValueError, IndexError), open(path, encoding="ascii") as stream:
        words = stream.readline(_MOST_BYTES).split()
        found = base64.b64decode(words[1], validate=True)
        if paramiko.Message(found).get_text() == words[0]:
            return found
    return b""


def _public_of_private(path: str) -> bytes:
    """Return the public half that OpenSSH's private keys hold, readable without a passphrase (PROTOCOL.key)."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(path, encoding="ascii") as stream:
        inner = stream.read(_MOST_BYTES).partition("BEGIN OPENSSH PRIVATE KEY-----")[2].partition("-----END")[0]
        content = base64.b64decode(inner)
        if content.startswith(_OPENSSH_KEY):
            fields = paramiko.Message(content[len(_OPENSSH_KEY) :])
            for _ in ("cipher", "kdf", "kdf's options"):
                fields.get_binary()
            fields.get_int()
            return fields.get_binary()
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
        self._has_refused = False
        if path:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.settimeout(_LIST_S)
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

    def explain(self, tried: list[str]) -> None:
        """Say of the key that was tried last that the agent did not sign with it, if that is so."""
        if self._has_refused and tried:
            tried[-1] += " (it did not sign)"
        self._has_refused = False

    def _send_message(self, message: Any) -> tuple[int, paramiko.Message]:
        """Ask the agent something; it may take its time, and refuse to sign, but not keep this process for ever.

        paramiko ends the connection when a key can't sign. ssh goes on to the next one, so the server is given a
        signature here that it refuses.
        """
        request: Any = asbytes(message)
        is_to_sign = request[:1] == bytes([_SIGN])
        self._conn.settimeout(_SIGN_S if is_to_sign else _LIST_S)  # type: ignore[attr-defined]  # as below
        try:
            kind, answer = super()._send_message(message)  # type: ignore[misc]  # as below
            if not is_to_sign or kind == _SIGNED:
                return kind, answer
        except (OSError, paramiko.SSHException):
            if not is_to_sign:
                raise
            # What it says late would be taken for the answer to the next request.
            self._conn.close()  # type: ignore[attr-defined]  # as below
        self._has_refused = True
        nothing = paramiko.Message()
        nothing.add_string(b"")
        return _SIGNED, paramiko.Message(nothing.asbytes())

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
    if _public_line(path) or not os.path.exists(path):
        tried.append(f"{path} (of which the agent hasn't got the private half)")
        return None
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
