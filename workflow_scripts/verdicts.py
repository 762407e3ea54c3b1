from hneurons import store
from hneurons.examples import verdicts
from hneurons.joblog import job
from hneurons.records import QUESTIONS, RESPONSES

with job(snakemake.log[0]):
    questions = store.read_table(snakemake.input.questions, QUESTIONS).to_pylist()
    responses = store.read_table(snakemake.input.responses, RESPONSES).to_pylist()
    store.write_table(snakemake.output[0], verdicts(questions, responses), dict(snakemake.params.items()))
