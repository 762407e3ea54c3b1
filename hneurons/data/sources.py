"""Sources of the published data sets: a hub repository at a commit, a file with its sha256, or a mirror folder.

The Snakefile imports this module, so it must import nothing heavy.
"""

import hashlib
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from hneurons.config.base import read_yaml
from hneurons.config.behaviours import is_own_behaviour
from hneurons.config.datasets import GENERATED_SETS, TYPED_JUDGES, HubFile, is_own_set
from hneurons.config.study import Study
from hneurons.errors import HNeuronsError
from hneurons.stages import VERSIONS


@dataclass(frozen=True)
class Source:
    """A published file.

    Attributes:
        mirror_names: Names that it may have in a mirror folder, in addition to {hub id}/{path} from
            `hf download --local-dir`.
        hub_id: Its repository on the hub; None for a plain file.
        revision: Commit of the repository; if None, the study must name one.
        path: Path in the repository.
        url: URL of a plain file.
        sha256: SHA-256 of a plain file.
    """

    mirror_names: tuple[str, ...]
    hub_id: str | None = None
    revision: str | None = None
    path: str | None = None
    url: str | None = None
    sha256: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All names that the file may have in a mirror folder, most likely first."""
        return (*self.mirror_names, *([f"{self.hub_id}/{self.path}"] if self.hub_id else []))


# Key, in the result of `missing_files`, of the text whose perplexity is measured.
HELD_OUT_TEXT = "held-out text"

SOURCES: dict[str, Source] = {
    name: Source(**{**entry, "mirror_names": tuple(entry["mirror_names"])})
    for name, entry in read_yaml(Path(__file__).with_name("sources.yaml")).items()
}


def dataset_sources(study: Study, name: str) -> list[str]:
    """Return the names of the sources of a set of questions; empty for a generated set or a user's file."""
    if study.dataset(name).file:
        return []
    return [source for source in (name, f"{name}-{study.part(name)}") if source in SOURCES]


def sources_named(name: str) -> list[str]:
    """Return the names of all sources of a set or benchmark, including its parts; empty for a generated one."""
    return [source for source in SOURCES if source == name or source.startswith(f"{name}-")]


def source_file(study: Study, name: str) -> str:
    """Return the path of a source: in the mirror folder, or where it will be downloaded to.

    Raises:
        HNeuronsError: If the mirror folder lacks it, or if no commit is pinned.
    """
    source = SOURCES.get(name) or _own_source(study, name)
    if study.mirror is None:
        hub = pinned_hub_file(study, name)
        # The pin is part of the name, so that studies with different pins do not share a file.
        mark = source.sha256 or (hub.revision if hub else "")
        return f"results/sources/{name}-{mark[:12]}{Path(hub.path if hub else source.mirror_names[0]).suffix}"
    for candidate in source.names:
        if (path := Path(study.mirror) / candidate).is_file():
            return str(path)
    raise HNeuronsError(f"mirror {study.mirror}: no file of {name}; it may be named {' or '.join(source.names)}")


def _own_source(study: Study, name: str) -> Source:
    """Where the user's own set is on the hub. Its sha256 is of the place, so that two places never share a file."""
    hub = study.dataset(name).hub
    assert hub is not None
    place = hashlib.sha256(f"{hub.id} {hub.revision} {hub.path}".encode()).hexdigest()
    return Source((), hub.id, hub.revision, hub.path, sha256=place)


def dataset_files(study: Study, name: str) -> list[str]:
    """Return the files that a set of questions is read from; empty for a generated set.

    Raises:
        HNeuronsError: If a file is missing, or if no commit is pinned.
    """
    configured = study.dataset(name).file
    if study.dataset(name).hub:
        return [source_file(study, name)]
    if configured is None:
        return [source_file(study, source) for source in dataset_sources(study, name)]
    return [_own_file(study, f"datasets.{name}", configured)]


def _own_file(study: Study, section: str, configured: str) -> str:
    """A file of the user's, in the mirror folder or where the setting says."""
    in_mirror = Path(study.mirror or ".") / configured
    path = in_mirror if in_mirror.is_file() else Path(configured)
    if not path.is_file():
        raise HNeuronsError(f"{section}.file: {in_mirror} does not exist")
    return str(path)


def questions_identity(study: Study, name: str) -> dict[str, object]:
    """Return what determines a set's questions, apart from their number.

    A larger set begins with the smaller one, so samples of the first questions remain valid for it. Downloaded files are
    identified by their pin, local files by their content.
    """
    local_files = [] if study.dataset(name).file is None and study.mirror is None else dataset_files(study, name)
    # Published sets have been split by connected sets of answers since version 2.
    published = bool(dataset_sources(study, name) or local_files or is_own_set(name))
    return {
        "stage": VERSIONS["questions"] + int(published and name in study.in_domain_sets),
        "seed": study.seed,
        "splits": study.splits.model_dump(mode="json") if name in study.in_domain_sets else None,
        "sources": dataset_sources(study, name),
        "pinned": dataset_files(study, name) if not local_files else [],
        "content": [content_of(path) for path in local_files],
        **({"own": own_reading(study, name)} if is_own_set(name) else {}),
    }


def own_reading(study: Study, name: str) -> dict[str, object]:
    """Return how the questions of a user's own set are read, as arguments of `own_questions`."""
    settings = study.dataset(name)
    reading: dict[str, object] = {"prompt": settings.prompt, "answerable": settings.role != "nonexist"}
    if settings.judge in TYPED_JUDGES:
        reading["judge"] = settings.judge
    if settings.columns:
        reading["columns"] = settings.columns
    return reading


def content_of(path: str) -> str:
    """Return the SHA-256 of a file, which is read again once it was changed."""
    return _content(path, Path(path).stat().st_mtime_ns)


@cache
def _content(path: str, _modified: int) -> str:
    """SHA-256 of a file; its modification time is a key of the cache."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def benchmark_files(study: Study, name: str) -> list[str]:
    """Return the files that a benchmark's items are read from; empty for a generated one. Raises as `source_file`."""
    if is_own_behaviour(name):
        settings = study.impact.benchmarks[name]
        if settings.plugin and not Path(settings.plugin).is_file():
            raise HNeuronsError(f"impact.benchmarks.{name}.plugin: {settings.plugin} does not exist")
        return [_own_file(study, f"impact.benchmarks.{name}", settings.file)] if settings.file else []
    return [source_file(study, source) for source in sources_named(name)]


def text_files(study: Study) -> list[str]:
    """Return the file of the held-out text, `impact.utility.text`; empty for Python's reference or no text.

    Raises:
        HNeuronsError: If the setting is neither a name nor a file.
    """
    text = study.impact.utility.text
    if text in (None, "python-reference"):
        return []
    if text in SOURCES:
        return [source_file(study, text)]
    if not Path(str(text)).is_file():
        raise HNeuronsError(f"impact.utility.text: {text} is neither python-reference, nor wikitext-2, nor a file")
    return [str(text)]


def check_sources(study: Study) -> None:
    """Check that the study uses all sources, files and parts that it names.

    Raises:
        HNeuronsError: For the first one that nothing would read.
    """
    hubs = [name for name, source in SOURCES.items() if source.hub_id]
    for name in study.sources:
        if name not in hubs:
            raise HNeuronsError(f"sources.{name}: no such repository; choose from {', '.join(hubs)}")
    for name in map(str, study.datasets):
        if is_own_set(name) and name in SOURCES:
            raise HNeuronsError(f"datasets.{name}: the name of a published file; give your own set another one")
        sources = sources_named(name)
        if study.dataset(name).file and name in GENERATED_SETS:
            raise HNeuronsError(f"datasets.{name}.file: the set is generated, so it cannot be read from a file")
        if study.dataset(name).part and (study.dataset(name).file or len(sources) < 2):
            raise HNeuronsError(f"datasets.{name}.part: this set has no parts to choose from")


def missing_files(study: Study) -> dict[str, str]:
    """Return the data sets and benchmarks that the study cannot read, and the held-out text if it cannot be read.

    Returns:
        Name → the line of the error, which names the missing file.
    """
    checks = {str(name): partial(dataset_files, study, name) for name in study.datasets}
    checks |= {str(name): partial(benchmark_files, study, name) for name in study.impact.benchmarks}
    checks[HELD_OUT_TEXT] = partial(text_files, study)
    lines = {}
    for name, check in checks.items():
        try:
            check()
        except HNeuronsError as error:
            lines[name] = str(error)
    return lines


def pinned_hub_file(study: Study, name: str) -> HubFile | None:
    """Return the repository, commit and path of a source; None for a plain file.

    Raises:
        HNeuronsError: If neither the project nor the study pins a commit.
    """
    source = SOURCES.get(name) or _own_source(study, name)
    if source.hub_id is None or source.path is None:
        return None
    if name in study.sources:
        return study.sources[name]
    if source.revision is None:
        raise HNeuronsError(
            f"{name}: no commit of {source.hub_id} is pinned; name one under sources.{name} "
            f"({{id: {source.hub_id}, revision: 40 hex digits, path: {source.path}}}), or use a mirror folder"
        )
    return HubFile(id=source.hub_id, revision=source.revision, path=source.path)
