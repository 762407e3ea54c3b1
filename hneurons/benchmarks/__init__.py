"""The behaviours of Figure 3: each a module with its published benchmark and the generated one that plays it."""

from hneurons.benchmarks import faitheval, falseqa, jailbreak, sycophancy
from hneurons.benchmarks.benchmark import Benchmark

BENCHMARKS: dict[str, Benchmark] = {
    "falseqa": falseqa.FALSEQA,
    "faitheval": faitheval.FAITHEVAL,
    "sycophancy": sycophancy.SYCOPHANCY,
    "jailbreak": jailbreak.JAILBREAK,
    "false-premise": falseqa.FALSE_PREMISE,
    "misleading-context": faitheval.MISLEADING_CONTEXT,
    "are-you-sure": sycophancy.ARE_YOU_SURE,
    "mild-requests": jailbreak.MILD_REQUESTS,
}
