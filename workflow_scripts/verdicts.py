from hneurons import store
from hneurons.joblog import job
from hneurons.judges.panel import Judges
from hneurons.judges.verdicts import verdict_table
from hneurons.records import QUESTIONS, RESPONSES

with job(snakemake.log[0]):
    questions = store.read_table(snakemake.input.questions, QUESTIONS).to_pylist()
    responses = store.read_table(snakemake.input.responses, RESPONSES).to_pylist()
    judge = Judges.from_config(snakemake.config).for_set(snakemake.wildcards.dataset)
    store.write_table(snakemake.output[0], verdict_table(questions, responses, judge), dict(snakemake.params.items()))
