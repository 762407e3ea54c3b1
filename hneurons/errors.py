"""The exception whose message is meant for the user, and failures of the machine in one line."""

import errno
import os
import re
import shutil
import sqlite3
from pathlib import Path


class HNeuronsError(Exception):
    """Bad input or settings. The message says in one line what is wrong, where, and what to do.

    Any other exception is a bug, or a failure of the machine.
    """


_FULL = "the disk is full"
_CAUSES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: "your disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EMFILE: "too many open files (ulimit -n)",
    errno.EIO: "the disk reports an input/output error",
}
# What safetensors, pyarrow, SQLite, numpy and torch say in place of the system's error number.
_TEXTS = {
    r"no space left on device|os error 28\b|disk is full|requested and \d+ written|unexpected pos \d+": errno.ENOSPC,
    r"disk quota exceeded|os error 122\b": errno.EDQUOT,
    r"read-only file system|readonly database|os error 30\b": errno.EROFS,
    r"permission denied|os error 13\b": errno.EACCES,
    r"disk I/O error|input/output error|os error 5\b": errno.EIO,
}
_TEXT_ONLY = (OSError, RuntimeError, sqlite3.Error)


def machine_failure(error: BaseException, path: str | Path | None = None) -> str | None:
    """Describe a failure of the machine in one line: a disk that is full or read-only, or a missing permission.

    Args:
        error: any exception.
        path: what was being written, if the exception does not name a file.

    Returns:
        The file, the cause and, for a full disk, the free space; None for any other exception.
    """
    code = error.errno if isinstance(error, OSError) else None
    if code is None and (isinstance(error, _TEXT_ONLY) or type(error).__name__ == "SafetensorError"):
        code = next((code for pattern, code in _TEXTS.items() if re.search(pattern, str(error), re.IGNORECASE)), None)
    if code not in _CAUSES:
        return None
    named = getattr(error, "filename2", None) or getattr(error, "filename", None)
    # pyarrow names the file only in its text.
    quoted = re.search(r"'(/[^']+)'", str(error))
    place = os.fsdecode(named) if isinstance(named, (str, bytes)) else str(quoted[1] if quoted else path or "")
    return f"{place + ': ' if place else ''}{_CAUSES[code]}{_space(place) if place and code == errno.ENOSPC else ''}"


def _space(place: str) -> str:
    """Free space of a path's disk, and what to do."""
    disk = Path(place).absolute()
    while not os.path.ismount(disk):
        disk = disk.parent
    return f" ({shutil.disk_usage(disk).free / 1e6:.1f} MB free on {disk}); make space there and run again"
