"""Chains to install, each a PEM file in a directory of the user's; a file that is there is never written over."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from fleetprobe.model.safe import printable

_DIRECTORY_MODE: Final = 0o755
_FILE_MODE: Final = 0o644
_MOST_BYTES: Final = 1 << 20
_COMMENT_CHARS: Final = 300
_PEM: Final = re.compile(rb"^-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)^-----END CERTIFICATE-----", re.MULTILINE)
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK})
"""link(2) on a file system without hard links."""


class UnusableFixDir(Exception):
    """The directory cannot be made or written to: one sentence for the user."""


class NotWritten(Exception):
    """A chain could not be written; the run goes on. One sentence."""


class FixDir:
    """Names are fingerprints and nothing else, so that nothing from the network gets into a path."""

    def __init__(self, path: str) -> None:
        """Make the directory and try it. Raises UnusableFixDir."""
        # A path that begins with a dash would be taken for an option by whoever gets it as an argument.
        self._path = f"./{path}" if path.startswith("-") else path
        try:
            os.makedirs(self._path, mode=_DIRECTORY_MODE, exist_ok=True)
            _remove(self._temporary(b"\n"))
        except (OSError, ValueError) as no:
            reason = no.strerror if isinstance(no, OSError) else "not a path"
            raise UnusableFixDir(f"--fix-dir {path:.200} cannot be made or written to: {reason}") from no

    def put(self, chain: Sequence[bytes], about: Sequence[str]) -> str:
        """Write the chain (DER, leaf first) below the comment lines, and give the path of its file.

        A file that holds these very certificates in this order is left as it is, whatever its comments say. Where the
        leaf's name is taken by anything else, the file is named by leaf and chain. Raises NotWritten.
        """
        leaf, whole = (hashlib.sha256(der).hexdigest().upper() for der in (chain[0], b"".join(chain)))
        names = (f"{leaf}.pem", f"{leaf}-{whole[:16]}.pem")
        content = _content(chain, about)
        try:
            for name in names:
                path = os.path.join(self._path, name)
                if _holds(path, chain) or self._create(path, content):
                    return path
        except OSError as no:
            raise NotWritten(f"its file in {self._path:.200} cannot be written: {no.strerror}") from no
        raise NotWritten(f"{names[0]} and {names[1]} in {self._path:.200} hold something else")

    def _create(self, path: str, content: bytes) -> bool:
        """A new file, there as a whole or not at all; False where the name is taken."""
        temporary = self._temporary(content)
        try:
            os.link(temporary, path, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError as no:
            if no.errno not in _NO_LINKS:
                raise
            return _create_plainly(path, content)
        finally:
            _remove(temporary)
        return True

    def _temporary(self, content: bytes) -> str:
        path = os.path.join(self._path, f".{secrets.token_hex(16)}.tmp")
        _write(path, content)
        return path


def _create_plainly(path: str, content: bytes) -> bool:
    try:
        _write(path, content)
    except FileExistsError:
        return False
    return True


def _holds(path: str, chain: Sequence[bytes]) -> bool:
    """Whether a regular file holds just this chain."""
    try:
        # Without O_NONBLOCK a named pipe would make us wait for its writer.
        found = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        about = os.fstat(found)
        if not stat.S_ISREG(about.st_mode) or about.st_size > _MOST_BYTES:
            return False
        text = os.read(found, _MOST_BYTES)
    finally:
        os.close(found)
    bodies = [b"".join(match[1].split()) for match in _PEM.finditer(text)]
    return bodies == [base64.b64encode(der) for der in chain]


def _write(path: str, content: bytes) -> None:
    """A file that nobody had before; none is left when it cannot be written whole."""
    new = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)
    try:
        with os.fdopen(new, "wb") as file:
            os.fchmod(new, _FILE_MODE)
            file.write(content)
            file.flush()
            os.fsync(new)
    except BaseException:
        _remove(path)
        raise


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def _content(chain: Sequence[bytes], about: Sequence[str]) -> bytes:
    comments = "".join(f"# {_comment(line)}\n" for line in about)
    blocks = (
        b"-----BEGIN CERTIFICATE-----\n%s-----END CERTIFICATE-----\n" % _wrapped(base64.b64encode(der)) for der in chain
    )
    return comments.encode("ascii", "backslashreplace") + b"".join(blocks)


def _comment(line: str) -> str:
    """Names in it are a stranger's: on one line, with nothing that a reader of PEM could take for a block."""
    return printable(line, _COMMENT_CHARS).replace("-----", "\\x2d----")


def _wrapped(text: bytes) -> bytes:
    """Lines of 64 characters (RFC 7468 §2)."""
    return b"".join(text[at : at + 64] + b"\n" for at in range(0, len(text), 64))
