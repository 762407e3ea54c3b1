"""The behaviours of a study: those that come with the package, those it describes, and those of its plugins."""

import importlib.util
import inspect
import sys
from pathlib import Path

from hneurons.config.behaviours import BenchmarkSettings, is_own_behaviour
from hneurons.config.datasets import is_own_set
from hneurons.config.study import Study
from hneurons.data.catalogue import questions_table
from hneurons.data.sources import benchmark_files, dataset_files, own_reading
from hneurons.errors import HNeuronsError
from hneurons.impact.benchmarks import BENCHMARKS
from hneurons.impact.benchmarks.benchmark import Benchmark, ItemDraw, items_table
from hneurons.impact.benchmarks.own import own_benchmark


def benchmark_of(name: str, settings: BenchmarkSettings) -> Benchmark:
    """Return a behaviour.

    Args:
        name: Its name in the study.
        settings: Its settings in the study.

    Raises:
        HNeuronsError: If a plugin cannot be used.
    """
    if not is_own_behaviour(name):
        return BENCHMARKS[name]
    return own_benchmark(name, settings) if settings.plugin is None else _plugin(name, Path(settings.plugin))


def _plugin(name: str, path: Path) -> Benchmark:
    """The BENCHMARK that a Python file defines."""
    place = f"impact.benchmarks.{name}.plugin: {path}"
    module_name = f"hneurons_plugin_{name}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise HNeuronsError(f"{place}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look their module up.
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise HNeuronsError(f"{place}: {type(error).__name__}: {error}") from error
    benchmark = getattr(module, "BENCHMARK", None)
    if not isinstance(benchmark, Benchmark):
        raise HNeuronsError(f"{place}: must define BENCHMARK, a hneurons.impact.benchmarks.benchmark.Benchmark")
    for function, arguments in ((benchmark.items, 1), (benchmark.judge, 3)):
        try:
            inspect.signature(function).bind(*[None] * arguments)
        except TypeError as error:
            raise HNeuronsError(f"{place}: {getattr(function, '__name__', function)}: {error}") from None
    return benchmark


def check_own_files(study: Study) -> None:
    """Read all questions and draw all items of the user's own, so that a fault is seen before anything runs.

    Raises:
        HNeuronsError: For the first fault, with file and row.
    """
    for name, dataset in study.datasets.items():
        files = dataset_files(study, name) if is_own_set(name) else []
        # A file of the hub is read once it is there.
        if files and Path(files[0]).is_file():
            questions_table(name, slice(0, dataset.questions), study.seed, None, files, own_reading(study, name))
    for name, settings in study.impact.benchmarks.items():
        if is_own_behaviour(name):
            paths = tuple(map(Path, benchmark_files(study, name)))
            draw = ItemDraw(settings.items, study.seed, study.splits, paths)
            items_table(name, benchmark_of(name, settings), draw, settings.max_new_tokens)
