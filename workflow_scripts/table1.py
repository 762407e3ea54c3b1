from hneurons import store
from hneurons.config.paper import load_paper
from hneurons.detection.results import DatasetScores
from hneurons.joblog import job
from hneurons.report.figures.detection import table1_picture
from hneurons.report.tables.detection import table1

with job(snakemake.log[0]):
    inputs, out = snakemake.input, snakemake.output
    summaries = [store.read_json(path) for path in inputs.summaries]
    detections = [store.read_result(path, DatasetScores) for path in [*inputs.detections, *inputs.folds]]
    table = table1({summary["model"]: summary for summary in summaries}, detections, load_paper(inputs.paper))
    store.write_text(out.csv, table.to_csv(index=False))
    table1_picture(table, [out.png, out.svg])
