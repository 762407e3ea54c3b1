from hneurons import store
from hneurons.joblog import job
from hneurons.judges.panel import Panel
from hneurons.records import QUESTIONS, SUPPRESSED
from hneurons.suppressed import judge_suppressed

with job(snakemake.log[0]):
    questions = store.read_table(snakemake.input.questions, QUESTIONS).to_pylist()
    answers = store.read_table(snakemake.input.answers, SUPPRESSED).to_pylist()
    judge = Panel.of_study(snakemake.config).of("correctness")
    store.write_table(snakemake.output[0], judge_suppressed(questions, answers, judge), dict(snakemake.params.items()))
