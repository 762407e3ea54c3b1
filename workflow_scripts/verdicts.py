from hneurons import store
from hneurons.examples import verdicts
from hneurons.joblog import job
from hneurons.judges.panel import Panel
from hneurons.records import QUESTIONS, RESPONSES

with job(snakemake.log[0]):
    questions = store.read_table(snakemake.input.questions, QUESTIONS).to_pylist()
    responses = store.read_table(snakemake.input.responses, RESPONSES).to_pylist()
    judge = Panel.of_study(snakemake.config).of("correctness")
    store.write_table(snakemake.output[0], verdicts(questions, responses, judge), dict(snakemake.params.items()))
