from pathlib import Path

from hneurons import store
from hneurons.config.paper import load_paper
from hneurons.joblog import job
from hneurons.report.front import front_page
from hneurons.report.html import iframe

with job(snakemake.log[0]):
    given, params = snakemake.input, snakemake.params
    front_page(
        snakemake.output.page,
        params.study,
        *({Path(path).stem: path for path in paths} for paths in (given.tables, given.figures, given.captions)),
        given.published,
        [store.read_json(path) for path in given.manifests],
        params.timings,
        load_paper(given.paper),
    )
    store.write_text(snakemake.output.frame, iframe(snakemake.output.page))
