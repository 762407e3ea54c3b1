from hneurons import store
from hneurons.impact.agreement import Agreement
from hneurons.joblog import job
from hneurons.report.tables.impact import agreement_table

with job(snakemake.log[0]):
    table = agreement_table([store.read_result(path, Agreement) for path in snakemake.input])
    store.write_text(snakemake.output[0], table.to_csv(index=False))
