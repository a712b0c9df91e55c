"""The program's door: signals first, before anything heavy is imported, and one way out."""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import suppress
from types import FrameType, TracebackType
from typing import NoReturn

EXIT_BUG, EXIT_OUTPUT, EXIT_PIPE = 70, 74, 141
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    _fill_standard_descriptors()
    # Until a run takes them over, SIGINT and SIGTERM end the program at once, without a traceback.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave_at_once)
    sys.excepthook = _report_bug
    _leave(_run())


def _fill_standard_descriptors() -> None:
    """A closed 0, 1 or 2 would be given to the next file or socket. Writing to the stand-in for 1 fails aloud."""
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)
    # The interpreter leaves a stream out when its descriptor was closed at the start.
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _run() -> int:
    try:
        from fleetprobe.cli.app import app

        app(prog_name="fleetprobe")
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else 0
    except BrokenPipeError:
        return EXIT_PIPE
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        sys.stderr.write(f"fleetprobe: standard output: {error.strerror}\n")
        return EXIT_OUTPUT
    return 0


def _report_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What nobody expected is our own bug: told as one, under an exit code that no verdict uses."""
    import traceback

    from fleetprobe.model.safe import printable

    told = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write("".join(f"{printable(line)}\n" for line in told.splitlines()))
    sys.stderr.write("fleetprobe: this is our own bug, not your network's; please report the lines above\n")
    _leave(EXIT_BUG)


def _leave(code: int) -> NoReturn:
    # Not sys.exit: a reader thread may still hang on standard input, and the interpreter would wait for it.
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = EXIT_PIPE
    except OSError:
        code = EXIT_OUTPUT
    with suppress(OSError):  # nobody would be left to tell
        sys.stderr.flush()
    os._exit(code)


def _leave_at_once(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(128 + number)


if __name__ == "__main__":
    main()
