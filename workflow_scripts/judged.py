from hneurons.impact.judging import judge_runs
from hneurons.joblog import job
from hneurons.judges.panel import Judges

with job(snakemake.log[0]):
    replies = snakemake.input.replies
    judge_runs(
        snakemake.wildcards.benchmark,
        snakemake.input.item_file,
        dict(zip([replies] if isinstance(replies, str) else replies, snakemake.output, strict=True)),
        Judges.from_config(snakemake.config),
        dict(snakemake.params.items()),
    )
