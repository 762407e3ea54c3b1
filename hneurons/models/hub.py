"""The model hub: who may have what, is there room, and the download, each in one line when it fails."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hneurons.config.base import HubSource
from hneurons.errors import HNeuronsError

_WANTED = ["*.safetensors", "*.safetensors.index.json", "*.json", "tokenizer*", "*.model", "*.jinja"]
# Mistral's repositories hold the weights a second time, in another layout.
_UNWANTED = ["consolidated*"]
# More than this is much for a home folder.
_MUCH_GB = 20


def _patterns(remote_code: bool) -> list[str]:
    return [*_WANTED, *(["*.py"] if remote_code else [])]


def is_hub_id(name: str | Path) -> bool:
    """Whether a name could be that of a repository: owner/name."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)) is not None


def fetch_snapshot(
    repository: str, revision: str | None = None, remote_code: bool = False, wanted: Sequence[str] | None = None
) -> str:
    """The folder, in the hub's cache, of a repository's checkpoint; files that are there are not fetched again.

    revision: None is the newest. wanted: patterns of files, in place of a checkpoint's.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        patterns = list(wanted or _patterns(remote_code))
        return snapshot_download(repository, revision=revision, allow_patterns=patterns, ignore_patterns=_UNWANTED)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        at = f" at {revision}" if revision else ""
        raise HNeuronsError(f"cannot fetch {repository}{at}: {_reason(repository, error)}") from None


def check_access(hubs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Look at every repository before the first download: may it be read, how large is it, and is there room for all.

    hubs: model → id, revision, remote_code. What the cache has whole is not asked for. Returns bytes to fetch by model and
    where they go. Raises HNeuronsError, one line that names every model that cannot be had, the licence to accept, and the
    space that is missing.
    """
    from huggingface_hub import constants

    missing: dict[str, int] = {}
    problems = []
    for name, hub in hubs.items():
        source = HubSource(id=hub["id"], revision=hub["revision"])
        if not _is_cached(source, hub["remote_code"]):
            try:
                missing[name] = _bytes(source, hub["remote_code"])
            except HNeuronsError as error:
                problems.append(f"{name}: {error}")
    if problems:
        raise HNeuronsError(" | ".join(problems))
    folder = Path(constants.HF_HUB_CACHE)
    there = next(p for p in (folder, *folder.parents) if p.exists())
    needed, free = sum(missing.values()), shutil.disk_usage(there).free
    found = {"fetch_bytes": missing, "cache": str(folder), "free_bytes": free}
    if not missing:
        return found
    print(f"to fetch: {needed / 1e9:.1f} GB for {', '.join(missing)}, into {folder}", file=sys.stderr)
    if needed > free:
        raise HNeuronsError(
            f"{folder}: {needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free: set HF_HOME to a folder on a larger disk "
            f"that all nodes share"
        )
    if needed > _MUCH_GB * 1e9 and folder.is_relative_to(Path.home()):
        print(f"{folder} is in your home folder, which often has a quota: HF_HOME names another", file=sys.stderr)
    return found


def _is_cached(source: HubSource, remote_code: bool) -> bool:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    options: dict[str, Any] = {"allow_patterns": _patterns(remote_code), "ignore_patterns": _UNWANTED}
    try:
        folder = Path(snapshot_download(source.id, revision=source.revision, local_files_only=True, **options))
    except LocalEntryNotFoundError:
        return False
    return is_complete_checkpoint(folder)


def is_complete_checkpoint(folder: Path) -> bool:
    """Whether a folder holds a safetensors checkpoint with all of the files that its index names."""
    index = folder / "model.safetensors.index.json"
    names = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else set()
    files = [folder / name for name in names] or list(folder.glob("*.safetensors"))
    return (folder / "config.json").is_file() and bool(files) and all(file.is_file() for file in files)


def _bytes(source: HubSource, remote_code: bool) -> int:
    """Bytes of a repository's wanted files that the cache lacks. Raises HNeuronsError if this user may not read it."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        api.auth_check(source.id)
        info = api.model_info(source.id, revision=source.revision, files_metadata=True)
    except (HfHubHTTPError, OSError) as error:
        raise HNeuronsError(_reason(source.id, error)) from None
    files = {f.rfilename: f.size or 0 for f in info.siblings or []}
    blobs = Path(constants.HF_HUB_CACHE) / f"models--{source.id.replace('/', '--')}" / "blobs"
    there = sum(blob.stat().st_size for blob in blobs.glob("*"))
    wanted = sum(
        size
        for name, size in files.items()
        if any(fnmatch.fnmatch(name, p) for p in _patterns(remote_code))
        and not any(fnmatch.fnmatch(name, p) for p in _UNWANTED)
    )
    return max(0, wanted - there)


def _reason(repository: str, error: Exception) -> str:
    """Why the hub did not give a repository, and what to do."""
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    page = f"{constants.ENDPOINT}/{repository}"
    if isinstance(error, GatedRepoError):
        who = "your token has no access" if get_token() else "there is no token: set HF_TOKEN"
        return f"{repository} is gated and {who}; accept {_licence(repository)} at {page}, then run again"
    if isinstance(error, RepositoryNotFoundError):
        who = "your token may not see it" if get_token() else "it is private and HF_TOKEN is not set"
        return f"{repository} does not exist, or {who} ({page})"
    if isinstance(error, RevisionNotFoundError):
        return f"{repository} has no such revision: correct it where it is named"
    return f"{repository}: {' '.join(str(error).split())[:200]}"


def _licence(repository: str) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        card = HfApi().model_info(repository).card_data
    except (HfHubHTTPError, OSError):
        return "its licence"
    name = (card.get("license_name") or card.get("license")) if card else None
    return f"its licence ({name})" if name else "its licence"
