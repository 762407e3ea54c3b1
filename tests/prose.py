"""Names that say nothing and phrases of a private dialect, wherever the project's code and texts hold them.

`python -m tests.prose [folder …]` lists them by file and line.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.paths import ROOT

# What is assigned is named by what it is. Settings' own fields are the keys of the configuration.
NAMES = frozenset(
    "found asked said one mine theirs ours of had told made what which some more most everything own wanted taken near at "
    "where known held given rest both here there whole".split()
)

# Phrase → how it is recognised. Counts before the second edition are in the closing note of the change that brought this.
PHRASES = {
    "told": r"told",
    "stands": r"stands?(?! in for)(?!-in)",
    "plays": r"plays?",
    "held to, held against": r"held (?:to|against)",
    "said of, says of": r"sa(?:id|ys) of",
    "whole": r"whole",
    "beside": r"beside",
    "as many": r"as many",
    "so many": r"so many",
    "made up": r"made[ -]up",
    "goes on": r"go(?:es)? on",
    "anew": r"anew",
    "in hand": r"in hand",
    "of its own": r"of (?:its|their|our) own",
    "one's own": r"one['’]s own",
    "by itself": r"by itself",
    "the others": r"the others",
    "whatever": r"whatever",
    "is none": r"(?:is|are|has|have) none",
    "is no": r"(?:is|are) no (?!longer|more|fewer)",
    "be had": r"be had",
    "asked of": r"asked of",
    "asked for": r"asked for",
    "likewise": r"likewise",
    "once more": r"once more",
    "nobody": r"nobody",
    "looked for": r"looked for",
    "ours, theirs": r"ours|theirs|mine",
    "what is there": r"(?:what|that) is there",
    "in turn": r"in turn",
    "lies": r"lies|lie",
}
_PHRASE = re.compile("|".join(rf"\b(?P<p{i}>{regex})\b" for i, regex in enumerate(PHRASES.values())), re.IGNORECASE)
_KINDS = list(PHRASES)


def tracked(*patterns: str) -> list[Path]:
    """Files of the project by git's patterns; links are left out, so that no text counts twice."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *patterns], cwd=ROOT, capture_output=True, text=True
    )
    paths = [ROOT / name for name in listed.stdout.splitlines()]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def code_files() -> list[Path]:
    return tracked("hneurons/*.py", "workflow_scripts/*.py", "perf/*.py")


def assigned_names(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of everything that is assigned, defined or passed, the fields of settings aside."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    fields = {
        id(s.target) for c in ast.walk(tree) if isinstance(c, ast.ClassDef) for s in c.body if isinstance(s, ast.AnnAssign)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in fields:
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of what is prose in a file: docstrings, messages, comments; of Markdown all but code."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
                yield node.lineno, node.value
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string
    elif path.suffix in (".smk", ".yaml", ".yml", "") or path.name == "Snakefile":
        for number, line in enumerate(source.splitlines(), 1):
            if found := re.search(r'"""(.*)|#(.*)', line):
                yield number, found[0]
    else:
        fenced = False
        for number, line in enumerate(source.splitlines(), 1):
            fenced ^= line.startswith("```")
            if not fenced:
                yield number, re.sub(r"`[^`]*`", "", line)


def prose_files() -> list[Path]:
    return [*code_files(), *tracked("*.md", "*.rst", "rules/*.smk", "Snakefile", "config/*.yaml", "slurm/*.yaml")]


def phrases(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, phrase and the words around it."""
    for line, text in texts(path):
        for match in _PHRASE.finditer(text):
            kind = next(_KINDS[i] for i in range(len(_KINDS)) if match[f"p{i}"])
            around = " ".join(text[max(0, match.start() - 40) : match.end() + 30].split())
            yield line + text.count("\n", 0, match.start()), kind, around


def count_words(path: Path) -> int:
    return sum(len(re.findall(r"[A-Za-z][\w’'-]*", text)) for _, text in texts(path))


def public_names(path: Path) -> Iterator[str]:
    """Names that a module defines at its top level, private ones, `logger` and `__all__` aside."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_") and name != "logger")


def main(folders: list[str]) -> None:
    def inside(path: Path) -> bool:
        return not folders or any(path.is_relative_to(ROOT / folder) for folder in folders)

    for path in filter(inside, code_files()):
        for line, name in assigned_names(path):
            if name in NAMES:
                print(f"{path.relative_to(ROOT)}:{line}: name {name}")
    for path in filter(inside, prose_files()):
        for line, kind, around in phrases(path):
            print(f"{path.relative_to(ROOT)}:{line}: {kind}: …{around}…")


if __name__ == "__main__":
    main(sys.argv[1:])
