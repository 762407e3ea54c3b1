from hneurons import store
from hneurons.config.paper import load_paper
from hneurons.impact.curves import Curve
from hneurons.joblog import job
from hneurons.report.figures.impact import figure3
from hneurons.report.tables.impact import average_slopes_table, figure3_table, slopes_table

with job(snakemake.log[0]):
    out = snakemake.output
    curves = [store.read_result(path, Curve) for path in snakemake.input.curves]
    averages = average_slopes_table(curves, snakemake.params.parameters, load_paper(snakemake.input.paper))
    for path, table in ((out.points, figure3_table(curves)), (out.slopes, slopes_table(curves)), (out.averages, averages)):
        store.write_text(path, table.to_csv(index=False))
    figure3(curves, [out.png, out.svg])
