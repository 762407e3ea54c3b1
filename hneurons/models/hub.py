"""The model hub: access, disk space and download; each failure is reported in one line."""

import fnmatch
import logging
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hneurons.config.base import HubSource
from hneurons.config.proxies import network_errors, through_proxy
from hneurons.config.weights import weight_files
from hneurons.errors import HNeuronsError, machine_failure

logger = logging.getLogger(__name__)

_CHECKPOINT_FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "tokenizer*", "*.model", "*.jinja"]
# Mistral's repositories repeat the weights in another layout.
_IGNORED_FILES = ["consolidated*"]
# A larger download into the home folder may exceed its quota.
_LARGE_GB = 20


def _patterns(remote_code: bool) -> list[str]:
    return [*_CHECKPOINT_FILES, *(["*.py"] if remote_code else [])]


def is_hub_id(name: str | Path) -> bool:
    """Return whether a name has the form of a repository, owner/name."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)) is not None


@contextmanager
def hub_errors() -> Iterator[None]:
    """Turn all errors of the connection to the hub into OSError, and proxies that cannot be used into HNeuronsError."""
    from huggingface_hub import constants

    with network_errors(constants.ENDPOINT):
        yield


def fetch_snapshot(
    repository: str, revision: str | None = None, remote_code: bool = False, patterns: Sequence[str] | None = None
) -> str:
    """Download a repository's checkpoint to the hub's cache, except for files that it already holds.

    Args:
        repository: Hub id, owner/name.
        revision: Commit, branch or tag; None for the newest.
        remote_code: Whether to fetch the repository's Python files too.
        patterns: Files to fetch in place of a checkpoint's.

    Returns:
        The folder in the cache.

    Raises:
        HNeuronsError: If the download fails.
    """
    from huggingface_hub import constants, snapshot_download

    allowed = list(patterns or _patterns(remote_code))
    # Offline, no client is needed, which a proxy in the environment could break.
    offline = constants.is_offline_mode()
    try:
        with hub_errors():
            return snapshot_download(
                repository,
                revision=revision,
                allow_patterns=allowed,
                ignore_patterns=_IGNORED_FILES,
                local_files_only=offline,
            )
    except (OSError, ValueError) as error:
        version = f" at {revision}" if revision else ""
        raise HNeuronsError(f"cannot fetch {repository}{version}: {_reason(repository, error)}") from None


def check_access(hubs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Check access to all repositories, and free disk space for them together, before the first download.

    Repositories that are complete in the cache need no request.

    Args:
        hubs: Model → `id`, `revision` and `remote_code`.

    Returns:
        `fetch_bytes`, the bytes to fetch by model; `cache`, the folder they go to; and `free_bytes`, the space there.

    Raises:
        HNeuronsError: One line that names every inaccessible model and the licence to accept, or the missing disk space.
    """
    from huggingface_hub import constants

    missing: dict[str, int] = {}
    problems = []
    for name, hub in hubs.items():
        source = HubSource(id=hub["id"], revision=hub["revision"])
        if not _is_cached(source, hub["remote_code"]):
            try:
                missing[name] = _bytes_to_fetch(source, hub["remote_code"])
            except HNeuronsError as error:
                problems.append(f"{name}: {error}")
    if problems:
        raise HNeuronsError(" | ".join(problems))
    folder = Path(constants.HF_HUB_CACHE)
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    needed, free = sum(missing.values()), shutil.disk_usage(existing).free
    if missing:
        logger.info("to fetch: %.1f GB for %s, into %s", needed / 1e9, ", ".join(missing), folder)
    if needed > free:
        raise HNeuronsError(
            f"{folder}: {needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free: set HF_HOME to a folder on a larger disk "
            f"that all nodes share"
        )
    if needed > _LARGE_GB * 1e9 and folder.is_relative_to(Path.home()):
        logger.warning("%s is in your home folder, which often has a quota; set HF_HOME to use another folder", folder)
    return {"fetch_bytes": missing, "cache": str(folder), "free_bytes": free}


def _is_cached(source: HubSource, remote_code: bool) -> bool:
    """Whether the cache holds the complete checkpoint."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    options: dict[str, Any] = {"allow_patterns": _patterns(remote_code), "ignore_patterns": _IGNORED_FILES}
    try:
        folder = Path(snapshot_download(source.id, revision=source.revision, local_files_only=True, **options))
    except LocalEntryNotFoundError:
        return False
    return is_complete_checkpoint(folder)


def is_complete_checkpoint(folder: Path) -> bool:
    """Return whether a folder holds config.json and a safetensors checkpoint with all files of its index."""
    try:
        return (folder / "config.json").is_file() and bool(weight_files(folder))
    except HNeuronsError:
        return False


def _bytes_to_fetch(source: HubSource, remote_code: bool) -> int:
    """Bytes of a checkpoint that the cache lacks. Raises HNeuronsError if the user has no access to it."""
    from huggingface_hub import HfApi, constants

    api = HfApi()
    try:
        with hub_errors():
            api.auth_check(source.id)
            info = api.model_info(source.id, revision=source.revision, files_metadata=True)
    except OSError as error:
        raise HNeuronsError(_reason(source.id, error)) from None
    files = {f.rfilename: f.size or 0 for f in info.siblings or []}
    blobs = Path(constants.HF_HUB_CACHE) / f"models--{source.id.replace('/', '--')}" / "blobs"
    cached = sum(blob.stat().st_size for blob in blobs.glob("*"))
    included, ignored = (
        {name for pattern in patterns for name in fnmatch.filter(files, pattern)}
        for patterns in (_patterns(remote_code), _IGNORED_FILES)
    )
    return max(0, sum(files[name] for name in included - ignored) - cached)


def _reason(repository: str, error: Exception) -> str:
    """Why a repository could not be fetched, and what to do."""
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, OSError) and error.errno and (line := machine_failure(error, constants.HF_HUB_CACHE)):
        return line
    page = f"{constants.ENDPOINT}/{repository}"
    if isinstance(error, GatedRepoError):
        cause = "your token has no access" if get_token() else "HF_TOKEN is not set"
        return f"{repository} is gated and {cause}; accept {_licence(repository)} at {page}, then run again"
    if isinstance(error, RepositoryNotFoundError):
        cause = "it is not visible to your token" if get_token() else "it is private and HF_TOKEN is not set"
        return f"{repository} does not exist, or {cause} ({page})"
    if isinstance(error, RevisionNotFoundError):
        return f"{repository} has no such revision: correct it where it is named"
    return f"{repository}: {' '.join(str(error).split())[:200]}{through_proxy(constants.ENDPOINT)}"


def _licence(repository: str) -> str:
    from huggingface_hub import HfApi

    try:
        with hub_errors():
            card = HfApi().model_info(repository).card_data
    except OSError:
        return "its licence"
    name = (card.get("license_name") or card.get("license")) if card else None
    return f"its licence ({name})" if name else "its licence"
