from pathlib import Path

from hneurons import store
from hneurons.joblog import job
from hneurons.probe.classifiers import PROBE, read_classifiers
from hneurons.probe.confidence import Combined
from hneurons.probe.examples import read_example_frame
from hneurons.report.answers import scored_answers, write_answers_page
from hneurons.report.tables.detection import answers_table

with job(snakemake.log[0]):
    inputs, params = snakemake.input, snakemake.params
    answers = scored_answers(
        {
            name: read_example_frame(name, inputs.questions, inputs.examples, inputs.responses, inputs.spans)
            for name in params.faithful
        },
        params.faithful,
        inputs.questions,
        inputs.cett,
        read_classifiers(inputs.classifiers)[PROBE],
        Combined.from_dict(store.made_by(inputs.classifiers).get("combined")),
        params.seed,
        in_domain=params.in_domain,
    )
    counts = {Path(path).stem: store.read_json(path) for path in inputs.counts}
    model = Path(snakemake.output.page).parent
    write_answers_page(snakemake.output.page, answers, counts, snakemake.wildcards.model, model, params.seed)
    store.write_text(snakemake.output.table, answers_table(answers).to_csv(index=False))
