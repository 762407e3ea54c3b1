from hneurons import store
from hneurons.benchmarks import BENCHMARKS
from hneurons.figures import figure3
from hneurons.joblog import job
from hneurons.tables import figure3_table, slopes_table

with job(snakemake.log[0]):
    curves = [store.read_json(path) for path in snakemake.input]
    titles = {name: f"{b.title}\n({b.compliance})" for name, b in BENCHMARKS.items()}
    store.write_text(snakemake.output.points, figure3_table(curves).to_csv(index=False))
    store.write_text(snakemake.output.slopes, slopes_table(curves).to_csv(index=False))
    figure3(curves, titles, [snakemake.output.png, snakemake.output.svg])
