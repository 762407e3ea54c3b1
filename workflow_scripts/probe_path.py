from hneurons.config import ProbeSettings
from hneurons.joblog import job
from hneurons.probe_path import fit_probe_path
from hneurons.study import parse_study

with job(snakemake.log[0], snakemake.threads):
    params = snakemake.params
    memory = parse_study(snakemake.config).study.runtime.probe_memory_gb
    settings = ProbeSettings(**params.probe)
    path = fit_probe_path(snakemake.input.cett, settings, params.seed, memory, snakemake.threads)
    path.save(snakemake.output[0], dict(params.items()))
