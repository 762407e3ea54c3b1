"""Fetching published files, each checked against what the project pins."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from hneurons import store
from hneurons.config.study import HubFile
from hneurons.data.sources import SOURCES
from hneurons.errors import HNeuronsError


def fetch_source(name: str, hub: HubFile | None, out: str | Path) -> None:
    """Download a source. Raises HNeuronsError, one line, if it cannot be had or is not the file that is pinned."""
    with store.atomic_path(out) as part:
        if hub is not None:
            shutil.copyfile(_from_hub(name, hub), part)
        else:
            _download(name, part)
        check_source(name, part)


def check_source(name: str, path: str | Path) -> None:
    """Raises HNeuronsError if a file, fetched or of a mirror folder, is not the one that the project pins by its sha256."""
    wanted = SOURCES[name].sha256
    if wanted and (found := store.file_hash(path)) != wanted:
        raise HNeuronsError(
            f"{name}: {Path(path).name} has sha256 {found}, {wanted} is pinned: cut short, or changed by its publisher; "
            f"put the pinned file into a mirror folder"
        )


def checked_hashes(sources: Sequence[str], files: Sequence[str]) -> dict[str, str]:
    """Files that were read → their SHA-256. Raises HNeuronsError for one that is not what the project pins.

    sources: what they are; empty for a file of one's own, which nobody pins.
    """
    for name, path in zip(sources, files, strict=bool(sources)):
        check_source(name, path)
    return {path: store.file_hash(path) for path in files}


def _from_hub(name: str, hub: HubFile) -> str:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return hf_hub_download(hub.id, hub.path, revision=hub.revision, repo_type="dataset")
    except (HfHubHTTPError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise HNeuronsError(f"{name}: cannot fetch {hub.path} of {hub.id}: {reason}; or use a mirror folder") from None


def _download(name: str, path: Path) -> None:
    url = SOURCES[name].url
    assert url is not None
    try:
        with urllib.request.urlopen(url, timeout=60) as response, open(path, "wb") as out:
            shutil.copyfileobj(response, out)
    except (urllib.error.URLError, OSError) as error:
        raise HNeuronsError(f"{name}: cannot fetch {url}: {error}; or use a mirror folder") from None
