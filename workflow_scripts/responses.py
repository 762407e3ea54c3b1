from hneurons import store
from hneurons.config import SamplingSettings
from hneurons.joblog import job
from hneurons.models import identity, load_from_manifest
from hneurons.records import QUESTIONS
from hneurons.sampling import sample_questions

with job(snakemake.log[0], snakemake.threads):
    model, tokenizer, manifest = load_from_manifest(snakemake.input.model)
    made_by = {**identity(manifest), **dict(snakemake.params.items())}
    questions = store.read_table(snakemake.input.questions, QUESTIONS).to_pylist()[slice(*snakemake.params.rows)]
    table, journal = sample_questions(
        model,
        tokenizer,
        questions,
        SamplingSettings(**snakemake.params.sampling),
        seed=snakemake.params.seed,
        token_budget=snakemake.resources.token_budget,
        journal=snakemake.output[0] + ".journal",
        mark=store.fingerprint([made_by, questions]),
    )
    store.write_table(snakemake.output[0], table, made_by)
    journal.remove()
