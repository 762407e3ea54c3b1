"""The behaviours of Figure 3, each in a module of its own, and how one of them is run."""

from hneurons.benchmarks import faitheval, falseqa, jailbreak, sycophancy
from hneurons.benchmarks.benchmark import Benchmark

BENCHMARKS: dict[str, Benchmark] = {
    "false-premise": falseqa.FALSE_PREMISE,
    "misleading-context": faitheval.MISLEADING_CONTEXT,
    "are-you-sure": sycophancy.ARE_YOU_SURE,
    "mild-requests": jailbreak.MILD_REQUESTS,
}
