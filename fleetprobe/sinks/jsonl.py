"""The JSONL file: whole lines only, one writer, synced every second, locked, and never overwritten."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import select
import stat
import threading
import time
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO

_SYNC_EVERY_S = 1.0
_BATCH_EVERY_S = 0.05
_BATCH_BYTES = 256 << 10
_PENDING_MOST_BYTES = 4 << 20
_TORN_TAIL_MOST_BYTES = 1 << 20
_STDOUT = 1
_STANDARD = {"stdout": _STDOUT, "stderr": 2}
_DESCRIPTOR = re.compile(r"/dev/(stdout|stderr)|/(?:dev|proc/self)/fd/(0|[1-9]\d{0,8})")
"""The names under which a process finds what it was started with; each is a symbolic link (fd(4), proc(5))."""


class OutputError(Exception):
    """The output cannot be written any more (exit 74). Lines already synced are whole."""


class OutputLocked(Exception):
    """Another run writes to the same output (exit 75)."""


class OutputExists(Exception):
    """The output holds something already and appending was not asked for (exit 2)."""


class JsonlSink:
    """Appends lines to a file or a pipe from a thread of its own, so that a slow disk delays no probe."""

    def __init__(self, path: str, *, append: bool = False) -> None:
        """Open and lock `path`; `-` is standard output, `/dev/fd/N` and the like what we were started with.

        Raises OutputExists, OutputLocked, OutputError.
        """
        self._fd, self._regular = _open(path, append)
        self._name = "standard output" if path == "-" else path
        self.readable = self._regular and path != "-" and _descriptor(path) is None
        """Whether what is written can be read back."""
        self._start_bytes = os.fstat(self._fd).st_size if self._regular else 0
        self._pending: deque[bytes] = deque()
        # Each counter has one thread that changes it, so that a line is handed over without a lock.
        self._queued_bytes = 0
        self._written_bytes = 0
        self._lines = 0
        self._digest = hashlib.sha256()
        self._taking = threading.Lock()
        """Held while lines leave the queue and enter the digest."""
        self._failure: OSError | None = None
        self._closing = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="fleetprobe-output", daemon=True)
        self._thread.start()

    @property
    def lines(self) -> int:
        """Lines handed over so far."""
        return self._lines

    @property
    def sha256(self) -> str:
        """SHA-256 over all lines handed over so far, upper-case hex. Does not wait until they are written."""
        with self._taking:
            digest = self._digest.copy()
            for line in self._pending:
                digest.update(line)
        return digest.hexdigest().upper()

    def read_back(self) -> tuple[BinaryIO, int]:
        """The file opened for reading, all lines so far in it, and where our own begin. Raises OutputError."""
        with self._wake:
            while self._pending_bytes and self._failure is None:
                self._wake.notify_all()
                self._wake.wait(_BATCH_EVERY_S)
        try:
            # By the descriptor, as the name may belong to another file by now.
            fd = os.open(f"/proc/self/fd/{self._fd}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as no:
            raise OutputError(f"{self._name}: {_reason(no)}") from no
        return os.fdopen(fd, "rb"), self._start_bytes

    @property
    def congested(self) -> bool:
        """Whether the reader of our output is so slow that scanning should pause."""
        return self._pending_bytes > _PENDING_MOST_BYTES

    @property
    def _pending_bytes(self) -> int:
        return self._queued_bytes - self._written_bytes

    def write(self, line: bytes) -> None:
        """Queue one whole line. Raises OutputError when an earlier one could not be written."""
        if self._failure is not None:
            raise OutputError(f"{self._name}: {_reason(self._failure)}") from self._failure
        self._lines += 1
        self._pending.append(line)
        self._queued_bytes += len(line)
        # Waking the writer for every line would make both threads fight for the interpreter.
        if self._pending_bytes >= _BATCH_BYTES:
            with self._wake:
                self._wake.notify()

    def wait_for_room(self) -> None:
        """Block until the reader of our output has caught up, or writing has failed."""
        with self._wake:
            while self.congested and self._failure is None:
                self._wake.wait(_BATCH_EVERY_S)

    def close(self) -> None:
        """Write and sync what is queued, and give the file back. Raises OutputError if that fails."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        if self._fd > 2:
            os.close(self._fd)
        if self._failure is not None:
            raise OutputError(f"{self._name}: {_reason(self._failure)}") from self._failure

    def __enter__(self) -> JsonlSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        synced = time.monotonic()
        while True:
            with self._wake:
                if not self._closing:
                    self._wake.wait(_BATCH_EVERY_S)
                last = self._closing
            with self._taking:
                batch = [self._pending.popleft() for _ in range(len(self._pending))]
                data = b"".join(batch)
                self._digest.update(data)
            start = os.fstat(self._fd).st_size
            try:
                if batch:
                    _write_all(self._fd, data)
                if self._regular and (last or time.monotonic() - synced >= _SYNC_EVERY_S):
                    os.fsync(self._fd)
                    synced = time.monotonic()
            except OSError as failure:
                if self._regular:
                    _cut_half_a_line(self._fd, start, data)
                self._failure = failure
                return
            self._written_bytes += len(data)
            if last and not self._pending:
                return


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            # Whoever shares our standard output may have made it non-blocking: a full pipe is no failure.
            room = select.poll()
            room.register(fd, select.POLLOUT)
            room.poll()


def _cut_half_a_line(fd: int, start: int, data: bytes) -> None:
    """A full disk takes part of a line: what was written from `start` on ends with its last whole one."""
    with suppress(OSError):  # then the next run that appends will do it
        taken = os.fstat(fd).st_size - start
        os.ftruncate(fd, start + data.rfind(b"\n", 0, taken) + 1)


def is_stdout(path: str) -> bool:
    """Whether a path names standard output, by `-` or by one of its names in the file system."""
    return path == "-" or _descriptor(path) == _STDOUT


def _descriptor(path: str) -> int | None:
    named = _DESCRIPTOR.fullmatch(path)
    return None if named is None else _STANDARD.get(named[1] or "") or int(named[2])


def _open(path: str, append: bool) -> tuple[int, bool]:
    if path == "-":
        return _STDOUT, stat.S_ISREG(os.fstat(_STDOUT).st_mode)
    number = _descriptor(path)
    try:
        if number is not None:
            fd = _given(number)
            return fd, stat.S_ISREG(os.fstat(fd).st_mode)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as failure:
        raise OutputError(f"{path}: {_reason(failure)}") from failure
    try:
        regular = stat.S_ISREG(os.fstat(fd).st_mode)
        if regular:
            _claim(fd, path, append)
    except BaseException:
        os.close(fd)
        raise
    return fd, regular


def _given(number: int) -> int:
    """A copy of a descriptor that we were started with: its opener chose the file, and what was to become of it.

    Of our own descriptors none is inheritable, so that no number can hit a socket of ours.
    """
    if not os.get_inheritable(number):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return os.dup(number)


def _claim(fd: int, path: str, append: bool) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as busy:
        raise OutputLocked(f"{path}: another run is writing to it") from busy
    if os.fstat(fd).st_size == 0:
        _sync_folder(path)
    elif append:
        _cut_torn_tail(fd, path)
    else:
        raise OutputExists(f"{path} is not empty; choose another name, or add --append for a further segment")


def _cut_torn_tail(fd: int, path: str) -> None:
    """A crash may have left half a line; it is cut, so that what follows is readable."""
    size = os.fstat(fd).st_size
    start = max(0, size - _TORN_TAIL_MOST_BYTES)
    # The output itself is open for writing only: a pipe open both ways would never lose its last reader.
    reader = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        tail = os.pread(reader, size - start, start)
    finally:
        os.close(reader)
    if not tail.endswith(b"\n"):
        os.ftruncate(fd, start + tail.rfind(b"\n") + 1)


def _sync_folder(path: str) -> None:
    folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    except OSError as failure:
        if failure.errno not in (errno.EINVAL, errno.EROFS):
            raise
    finally:
        os.close(folder)


def _reason(failure: OSError) -> str:
    return f"{errno.errorcode.get(failure.errno or 0, 'error')}: {failure.strerror or failure}"
