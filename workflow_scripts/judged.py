from hneurons.config.setup import parse_study
from hneurons.impact.benchmarks.registry import benchmark_of
from hneurons.impact.judging import judge_runs
from hneurons.joblog import job
from hneurons.judges.panel import Judges

with job(snakemake.log[0]):
    name, replies = snakemake.wildcards.benchmark, snakemake.input.replies
    study = parse_study(snakemake.config).study
    judge_runs(
        benchmark_of(name, study.benchmarks[name]),
        snakemake.input.item_file,
        dict(zip([replies] if isinstance(replies, str) else replies, snakemake.output, strict=True)),
        Judges.of_study(study),
        dict(snakemake.params.items()),
    )
