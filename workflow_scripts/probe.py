import pandas as pd

from hneurons import store
from hneurons.config import ProbeSettings
from hneurons.joblog import job
from hneurons.models import Prepared
from hneurons.probe import classifiers_table, fit_probe

with job(snakemake.log[0]):
    made_by = {**Prepared(snakemake.input.model).identity, **dict(snakemake.params.items())}
    settings = ProbeSettings(**snakemake.params.probe)
    probe = fit_probe(snakemake.input.cett, settings, snakemake.params.seed, made_by)
    probe.neurons.save(snakemake.output.neurons)
    table, scalars = classifiers_table(probe.classifiers)
    store.write_table(snakemake.output.classifiers, table, {**made_by, "classifiers": scalars})
    store.write_text(snakemake.output.path, pd.DataFrame(probe.path).to_csv(index=False))
    store.write_json(snakemake.output.summary, {"model": snakemake.wildcards.model, **probe.summary()})
