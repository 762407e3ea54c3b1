"""Where the published data sets come from: a hub repository at a commit, a file with its sha256, or a mirror folder.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hneurons.config.study import HubFile, Study
from hneurons.errors import HNeuronsError
from hneurons.stages import VERSIONS


@dataclass(frozen=True)
class Source:
    """One published file.

    mirror_names: the names it may have in a mirror folder, besides {hub id}/{path} as `hf download --local-dir` lays it.
    hub: its repository, commit and path; a commit that is None must be named in the study. url, sha256: of a plain file.
    """

    mirror_names: tuple[str, ...]
    hub_id: str | None = None
    revision: str | None = None
    path: str | None = None
    url: str | None = None
    sha256: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every name under which a mirror folder may hold the file, most likely first."""
        return (*self.mirror_names, *([f"{self.hub_id}/{self.path}"] if self.hub_id else []))


# What `missing` calls the text whose perplexity is measured.
HELD_OUT_TEXT = "held-out text"

_GITHUB = "https://raw.githubusercontent.com"
_TRIVIA_QA = {"hub_id": "mandarjoshi/trivia_qa", "revision": "0f7faf33a3908546c6fd5b73a660e0f8ff173c2f"}
_NQ_OPEN = {"hub_id": "google-research-datasets/nq_open", "revision": "5dd9790a83002ad084ddeb7c420dc716852c6f28"}

SOURCES: dict[str, Source] = {
    "triviaqa-train": Source(("triviaqa_train.parquet",), **_TRIVIA_QA, path="rc.nocontext/train-00000-of-00001.parquet"),
    "triviaqa-validation": Source(
        ("triviaqa_validation.parquet",), **_TRIVIA_QA, path="rc.nocontext/validation-00000-of-00001.parquet"
    ),
    "nq-open-train": Source(
        ("NQ-open.train.jsonl", "nq_open_train.jsonl"), **_NQ_OPEN, path="nq_open/train-00000-of-00001.parquet"
    ),
    "nq-open-validation": Source(
        ("NQ-open.dev.jsonl", "nq_open_dev.jsonl"), **_NQ_OPEN, path="nq_open/validation-00000-of-00001.parquet"
    ),
    "bioasq": Source(
        ("bioasq_factoid.parquet", "bioasq_factoid.jsonl"),
        hub_id="PaperSearchQA/BioASQ_factoid",
        path="data/test-00000-of-00001.parquet",
    ),
    "truthfulqa": Source(
        ("TruthfulQA.csv",),
        url=f"{_GITHUB}/sylinrl/TruthfulQA/main/TruthfulQA.csv",
        sha256="f9bd9e859cc102cb1f647f1064da7e009be752c416845cf9fa56e6eaae403a7d",
    ),
    "falseqa": Source(
        ("falseqa_test.csv",),
        url=f"{_GITHUB}/thunlp/FalseQA/main/dataset/test.csv",
        sha256="8983aa5054982b88be37cbc7ce3fd9c9faeb56fd1481da01f51a806dac110624",
    ),
    "faitheval": Source(
        ("faitheval_counterfactual.parquet", "faitheval_counterfactual.jsonl"),
        hub_id="Salesforce/FaithEval-counterfactual-v1.0",
        revision="e655f7c8750aabe431eeeda63fa5c019a2567b18",
        path="data/test-00000-of-00001.parquet",
    ),
    "wikitext-2": Source(
        ("wikitext-2-raw-test.parquet",),
        hub_id="Salesforce/wikitext",
        revision="b08601e04326c79dfdd32d625aee71d232d685c3",
        path="wikitext-2-raw-v1/test-00000-of-00001.parquet",
    ),
    "sycophancy": Source(
        ("are_you_sure.jsonl",),
        url=f"{_GITHUB}/meg-tong/sycophancy-eval/main/datasets/are_you_sure.jsonl",
        sha256="16e034c2ec6a6145c0058863a7c0f41fee5ffa7f9f0391547ae3685e713f115f",
    ),
    "jailbreak-questions": Source(
        ("forbidden_question_set.csv",),
        url=f"{_GITHUB}/verazuo/jailbreak_llms/main/data/forbidden_question/forbidden_question_set.csv",
        sha256="0d1e5cae6eb755f31103809ee45cfc537e9e2d92b5171f08704bae7de82081c3",
    ),
    "jailbreak-templates": Source(
        ("jailbreak_prompts_2023_05_07.csv",),
        url=f"{_GITHUB}/verazuo/jailbreak_llms/main/data/prompts/jailbreak_prompts_2023_05_07.csv",
        sha256="6f0ccbea6c0118d4d563e885ae4c459980943c44b57fd66d6fbe7c869ab61e6b",
    ),
}


def dataset_sources(study: Study, name: str) -> list[str]:
    """Names of the sources that a set of questions is read from; none for a generated set or a file of one's own."""
    if study.dataset(name).file:
        return []
    return [source for source in (name, f"{name}-{study.part(name)}") if source in SOURCES]


def sources_named(name: str) -> list[str]:
    """Names of all sources of a set or benchmark, its parts included; none for a generated one."""
    return [source for source in SOURCES if source == name or source.startswith(f"{name}-")]


def source_file(study: Study, name: str) -> str:
    """The file that a source is read from: in the mirror folder, or where it is downloaded to.

    Raises HNeuronsError, one line, if the mirror folder lacks it or no commit is pinned.
    """
    source = SOURCES[name]
    if study.mirror is None:
        hub = pinned_hub_file(study, name)
        # Named by what is pinned: studies that pin otherwise have files of their own.
        mark = hub.revision if hub else source.sha256 or ""
        return f"results/sources/{name}-{mark[:12]}{Path(hub.path if hub else source.mirror_names[0]).suffix}"
    for candidate in source.names:
        if (found := Path(study.mirror) / candidate).is_file():
            return str(found)
    raise HNeuronsError(f"mirror {study.mirror}: no file of {name}; it may be named {' or '.join(source.names)}")


def dataset_files(study: Study, name: str) -> list[str]:
    """The files that a set of questions is read from, none for a generated set. Raises HNeuronsError if one is missing."""
    own = study.dataset(name).file
    if own is None:
        return [source_file(study, source) for source in dataset_sources(study, name)]
    in_mirror = Path(study.mirror or ".") / own
    found = in_mirror if in_mirror.is_file() else Path(own)
    if not found.is_file():
        raise HNeuronsError(f"datasets.{name}.file: {in_mirror} does not exist")
    return [str(found)]


def questions_identity(study: Study, name: str) -> dict[str, object]:
    """What makes a set's questions these questions, however many are asked for.

    A larger number begins with the smaller one, so what was sampled of the first questions is valid for it. Downloaded
    files are named by what is pinned; others by their content.
    """
    own = [] if study.dataset(name).file is None and study.mirror is None else dataset_files(study, name)
    return {
        "stage": VERSIONS["questions"],
        "seed": study.seed,
        "splits": study.splits.model_dump(mode="json") if name == study.in_domain else None,
        "sources": dataset_sources(study, name),
        "pinned": dataset_files(study, name) if not own else [],
        "content": [_content(path, Path(path).stat().st_mtime_ns) for path in own],
    }


@cache
def _content(path: str, _changed: int) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def benchmark_files(study: Study, name: str) -> list[str]:
    """The files that a benchmark's items are read from, as dataset_files."""
    return [source_file(study, source) for source in sources_named(name)]


def text_files(study: Study) -> list[str]:
    """The file that the held-out text is read from (impact.utility.text), none for Python's reference or no text."""
    text = study.impact.utility.text
    if text in (None, "python-reference"):
        return []
    if text in SOURCES:
        return [source_file(study, text)]
    if not Path(str(text)).is_file():
        raise HNeuronsError(f"impact.utility.text: {text} is neither python-reference, nor wikitext-2, nor a file")
    return [str(text)]


def check_sources(study: Study) -> None:
    """Raises HNeuronsError, one line, for a source, file or part that a study names and that nothing would read."""
    hubs = [name for name, source in SOURCES.items() if source.hub_id]
    for name in study.sources:
        if name not in hubs:
            raise HNeuronsError(f"sources.{name}: no such repository; those that can be named: {', '.join(hubs)}")
    for name in map(str, study.datasets):
        of_set = sources_named(name)
        if study.dataset(name).file and not of_set:
            raise HNeuronsError(f"datasets.{name}.file: the set is generated, it is read from no file")
        if study.dataset(name).part and (study.dataset(name).file or len(of_set) < 2):
            raise HNeuronsError(f"datasets.{name}.part: there are no parts to choose from")


def missing_files(study: Study) -> dict[str, str]:
    """What cannot be had, a data set or benchmark of the study or the held-out text → which file is missing, in a line."""
    lines = {}
    for files, names in ((dataset_files, study.datasets), (benchmark_files, study.impact.benchmarks)):
        for name in map(str, names):
            try:
                files(study, name)
            except HNeuronsError as error:
                lines[name] = str(error)
    try:
        text_files(study)
    except HNeuronsError as error:
        lines[HELD_OUT_TEXT] = str(error)
    return lines


def pinned_hub_file(study: Study, name: str) -> HubFile | None:
    """The repository and commit a source is fetched from, None for a plain file.

    Raises HNeuronsError where neither the project nor the study pins a commit.
    """
    source = SOURCES[name]
    if source.hub_id is None or source.path is None:
        return None
    if name in study.sources:
        return study.sources[name]
    if source.revision is None:
        raise HNeuronsError(
            f"{name}: no commit of {source.hub_id} is pinned: name one under sources.{name} "
            f"({{id: {source.hub_id}, revision: 40 hex digits, path: {source.path}}}), or use a mirror folder"
        )
    return HubFile(id=source.hub_id, revision=source.revision, path=source.path)
