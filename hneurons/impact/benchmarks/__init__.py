"""The behaviours of Figure 3: one module each, with the published benchmark and a generated one for the demo."""

from hneurons.config.behaviours import TEST_QUESTIONS
from hneurons.impact.benchmarks import faitheval, falseqa, jailbreak, knowledge, sycophancy
from hneurons.impact.benchmarks.benchmark import Benchmark

BENCHMARKS: dict[str, Benchmark] = {
    "falseqa": falseqa.FALSEQA,
    "faitheval": faitheval.FAITHEVAL,
    "sycophancy": sycophancy.SYCOPHANCY,
    "jailbreak": jailbreak.JAILBREAK,
    "false-premise": falseqa.FALSE_PREMISE,
    "misleading-context": faitheval.MISLEADING_CONTEXT,
    "are-you-sure": sycophancy.ARE_YOU_SURE,
    "mild-requests": jailbreak.MILD_REQUESTS,
    TEST_QUESTIONS: knowledge.KNOWLEDGE,
}

TITLES = {name: benchmark.heading for name, benchmark in BENCHMARKS.items()}
