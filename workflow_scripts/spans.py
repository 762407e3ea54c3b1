from hneurons import store
from hneurons.joblog import job
from hneurons.judges.panel import Judges
from hneurons.judges.spans import span_table
from hneurons.models.tokenizer import tokenizer_from_manifest
from hneurons.records import QUESTIONS, RESPONSES, VERDICTS

with job(snakemake.log[0]):
    questions = store.read_table(snakemake.input.questions, QUESTIONS).to_pylist()
    responses = store.read_table(snakemake.input.responses, RESPONSES).to_pylist()
    judged = store.read_table(snakemake.input.verdicts, VERDICTS).to_pylist()
    extractor = Judges.from_config(snakemake.config).for_task("spans")
    tokenizer, most_frequent = tokenizer_from_manifest(snakemake.input.model), snakemake.params.example == "most_frequent"
    table = span_table(questions, responses, judged, tokenizer, extractor, most_frequent=most_frequent)
    store.write_table(snakemake.output[0], table, dict(snakemake.params.items()))
