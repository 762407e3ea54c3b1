from hneurons import store
from hneurons.joblog import job
from hneurons.judges.panel import Judges
from hneurons.probe.suppressed import judge_suppressed
from hneurons.records import QUESTIONS, SUPPRESSED

with job(snakemake.log[0]):
    questions = store.read_table(snakemake.input.questions, QUESTIONS).to_pylist()
    answers = store.read_table(snakemake.input.answers, SUPPRESSED).to_pylist()
    judge = Judges.from_config(snakemake.config).for_task("correctness")
    store.write_table(snakemake.output[0], judge_suppressed(questions, answers, judge), dict(snakemake.params.items()))
