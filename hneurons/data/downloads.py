"""Download of published files, each checked against the pinned hash."""

import shutil
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from hneurons import store
from hneurons.config.datasets import HubFile
from hneurons.config.proxies import network_errors, through_proxy
from hneurons.data.sources import SOURCES
from hneurons.errors import HNeuronsError, machine_failure


def fetch_source(name: str, hub: HubFile | None, out: str | Path) -> None:
    """Download a source.

    Args:
        name: Name of the source, a key of `SOURCES`, or of the user's own set of questions.
        hub: Its repository, commit and path; None for a plain file, which is fetched from its URL.
        out: File to write.

    Raises:
        HNeuronsError: If the download fails, or if the file is not the pinned one.
    """
    with store.atomic_path(out) as part:
        if hub is None:
            _download(name, part)
        else:
            shutil.copyfile(_from_hub(name, hub), part)
        check_source(name, part)


def check_source(name: str, path: str | Path) -> None:
    """Check that a file, downloaded or from a mirror folder, is the one pinned for a source.

    Raises:
        HNeuronsError: If its SHA-256 differs from the pinned one.
    """
    pinned = SOURCES[name].sha256 if name in SOURCES else None
    if pinned and (actual := store.file_hash(path)) != pinned:
        raise HNeuronsError(
            f"{name}: {Path(path).name} has sha256 {actual}, {pinned} is pinned: cut short, or changed by its publisher; "
            f"put the pinned file into a mirror folder"
        )


def checked_hashes(sources: Sequence[str], files: Sequence[str]) -> dict[str, str]:
    """Check the files that were read and return their hashes.

    Args:
        sources: Name of the source of each file; empty for a user's file, which is not pinned.
        files: Paths of the files.

    Returns:
        Path → SHA-256.

    Raises:
        HNeuronsError: If a file is not the pinned one.
    """
    for name, path in zip(sources, files, strict=bool(sources)):
        check_source(name, path)
    return {path: store.file_hash(path) for path in files}


def _from_hub(name: str, hub: HubFile) -> str:
    """Path of the file in the hub's cache, downloaded if necessary."""
    from huggingface_hub import constants, hf_hub_download

    try:
        with network_errors(constants.ENDPOINT):
            return hf_hub_download(hub.id, hub.path, revision=hub.revision, repo_type="dataset")
    except OSError as error:
        reason = " ".join(str(error).split())[:200] + through_proxy(constants.ENDPOINT)
        raise HNeuronsError(f"{name}: cannot fetch {hub.path} of {hub.id}: {reason}; or use a mirror folder") from None


def _download(name: str, path: Path) -> None:
    url = SOURCES[name].url
    assert url is not None
    try:
        with network_errors(url), urllib.request.urlopen(url, timeout=60) as response, open(path, "wb") as out:
            shutil.copyfileobj(response, out)
    except OSError as error:
        if line := machine_failure(error, path):
            raise HNeuronsError(f"{name}: {line}") from None
        reason = f"{error}{through_proxy(url)}"
        raise HNeuronsError(f"{name}: cannot fetch {url}: {reason}; or use a mirror folder") from None
