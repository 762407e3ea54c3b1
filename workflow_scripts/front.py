from pathlib import Path

from hneurons import store
from hneurons.config.paper import load_paper
from hneurons.joblog import job
from hneurons.report.ending import write_ending
from hneurons.report.front import front_page
from hneurons.report.html import iframe

with job(snakemake.log[0]):
    inputs, params = snakemake.input, snakemake.params
    tables, figures, captions = (
        {Path(path).stem: path for path in paths} for paths in (inputs.tables, inputs.figures, inputs.captions)
    )
    paper = load_paper(inputs.paper)
    front_page(
        snakemake.output.page,
        params.study,
        tables,
        figures,
        captions,
        inputs.published,
        [store.read_json(path) for path in inputs.manifests],
        params.timings,
        paper,
    )
    store.write_text(snakemake.output.frame, iframe(snakemake.output.page))
    write_ending(snakemake.output.ending, params.study, tables, inputs.published, paper)
