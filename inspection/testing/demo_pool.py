"""The pictures of a demonstration, kept in the user's cache folder for the next one.

A pool of all views takes a minute or more of every core and 1.6 GB of disk. It depends on the
bodies asked for, on the code that draws them and on the libraries below it, and its folder is
named for all of these, so that a pool of another renderer is never taken for this one's. Only the
pool used last is kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from inspection import imaging, rendering
from inspection.errors import ConfigurationError
from inspection.rendering import pool as pools
from inspection.rendering.pool import POOL, Pool, Progress


def cache_folder() -> Path:
    """Where pools are kept: ``visual-inspection/demo`` in the user's cache folder."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    # The specification (XDG Base Directory) has relative paths ignored.
    base = Path(named) if Path(named).is_absolute() else Path.home() / ".cache"
    return base / "visual-inspection" / "demo"


def pool_key(bodies: int, seed: int, views: Sequence[str]) -> str:
    """A short name that differs wherever the pictures might."""
    digest = hashlib.sha256()
    asked = (pools.FORMAT, pools.STANCES, bodies, seed, tuple(views))
    made_by = (np.__version__, cv2.__version__, platform.machine())
    digest.update(repr((asked, made_by)).encode())
    drawing = Path(rendering.__file__).parent
    files = [path for path in drawing.rglob("*") if path.suffix in (".py", ".toml", ".csv")]
    for path in [*sorted(files), Path(imaging.__file__)]:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def kept_pool(
    cache: Path, *, bodies: int, seed: int, views: Sequence[str], progress: Progress
) -> Iterator[tuple[Path, Pool]]:
    """The pool of these bodies and its folder, rendered where ``cache`` does not hold it yet.

    While the block runs nobody else renders into it or removes it; pools that nobody uses go.
    ``progress`` is called only if something is rendered. Raises `ConfigurationError` where there
    is no room or no right to write.
    """
    folder = cache / pool_key(bodies, seed, views)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _lock_of(folder).open("ab")
    except OSError as error:
        raise ConfigurationError(
            f"{folder}: the pictures cannot be kept here: {error.strerror}: set XDG_CACHE_HOME to a"
            " folder with 2 GB of room"
        ) from None
    with lock:
        while True:
            # One process renders; whoever comes meanwhile waits and then finds the pool.
            fcntl.flock(lock, fcntl.LOCK_EX)
            remove_unused(cache, but=folder)
            if not _is_whole(folder):
                (folder / POOL).unlink(missing_ok=True)
            pool = pools.make_pool(folder, bodies=bodies, seed=seed, views=views, progress=progress)
            # For a moment between the two locks there is none, and somebody may remove the pool.
            fcntl.flock(lock, fcntl.LOCK_SH)
            if (folder / POOL).exists():
                break
        yield folder, pool


def remove_unused(cache: Path, *, but: Path) -> None:
    """Remove all pools of a cache folder but one and those that some process uses."""
    for folder in cache.iterdir():
        if folder == but or not folder.is_dir() or not _lock_of(folder).exists():
            continue
        with contextlib.suppress(OSError), _lock_of(folder).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # First what makes it a pool: one that is removed halfway must not look whole.
            (folder / POOL).unlink(missing_ok=True)
            shutil.rmtree(folder)


def _lock_of(folder: Path) -> Path:
    """Beside the folder and never removed, so that all who want the pool lock the same file."""
    return folder.with_name(f"{folder.name}.lock")


def _is_whole(folder: Path) -> bool:
    """Whether no file of a pool is missing or cut short: caches are cleaned by hand, too."""
    if not (folder / POOL).exists():
        return False
    try:
        pool = pools.read_pool(folder)
        sizes = {frame.file: frame.width * frame.height * 3 for frame in pool.frames.values()}
        for each in pool.bodies:
            for shown in each.views.values():
                sizes |= {patch.file: patch.width * patch.height * 3 for patch in shown.patches}
        return all((folder / file).stat().st_size == size for file, size in sizes.items())
    except (ConfigurationError, OSError):
        return False
