from hneurons.config.setup import parse_study
from hneurons.config.study import ProbeSettings
from hneurons.joblog import job
from hneurons.probe.path import fit_probe_path

with job(snakemake.log[0], snakemake.threads):
    params = snakemake.params
    memory = parse_study(snakemake.config).study.runtime.probe_memory_gb
    settings = ProbeSettings(**params.probe)
    path = fit_probe_path(snakemake.input.cett, settings, params.seed, memory, snakemake.threads)
    path.save(snakemake.output[0], dict(params.items()))
