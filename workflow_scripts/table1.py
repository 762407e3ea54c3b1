from hneurons import store
from hneurons.config.paper import load_paper
from hneurons.joblog import job
from hneurons.report.figures.detection import table1_picture
from hneurons.report.tables import table1, table1_markdown

with job(snakemake.log[0]):
    summaries = [store.read_json(path) for path in snakemake.input.summaries]
    detections = [store.read_json(path) for path in [*snakemake.input.detections, *snakemake.input.folds]]
    paper = load_paper(snakemake.input.paper)
    table = table1({summary["model"]: summary for summary in summaries}, detections, paper)
    store.write_text(snakemake.output.csv, table.to_csv(index=False))
    store.write_text(snakemake.output.markdown, table1_markdown(table))
    table1_picture(table, [snakemake.output.png, snakemake.output.svg])
