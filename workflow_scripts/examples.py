from hneurons import store
from hneurons.config.study import DatasetSettings, ExampleSettings
from hneurons.data.questions import questions_for
from hneurons.joblog import job
from hneurons.judges.examples import example_table
from hneurons.records import QUESTIONS, SPANS, VERDICTS

with job(snakemake.log[0]):
    params = snakemake.params
    table, counts = example_table(
        questions_for(store.read_table(snakemake.input.questions, QUESTIONS).to_pylist(), params.prompting),
        [row for path in snakemake.input.verdicts for row in store.read_table(path, VERDICTS).to_pylist()],
        [row for path in snakemake.input.spans for row in store.read_table(path, SPANS).to_pylist()],
        snakemake.wildcards.dataset,
        DatasetSettings(**params.dataset),
        ExampleSettings(**params.examples),
        params.seed,
    )
    store.write_table(snakemake.output.examples, table, dict(params.items()))
    store.write_json(snakemake.output.counts, counts)
