"""The behaviours of Figure 3: each a module with its published benchmark and the generated one that plays it."""

from hneurons.config.impact import TEST_QUESTIONS
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

# As figures name them, with what the rate counts.
TITLES = {name: f"{benchmark.title}\n({benchmark.compliance})" for name, benchmark in BENCHMARKS.items()}
