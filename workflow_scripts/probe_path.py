from hneurons.config import ProbeSettings
from hneurons.joblog import job
from hneurons.probe_path import fit_probe_path

with job(snakemake.log[0], snakemake.threads):
    params = snakemake.params
    memory = snakemake.config.get("runtime", {}).get("probe_memory_gb", 4.0)
    settings = ProbeSettings(**params.probe)
    path = fit_probe_path(snakemake.input.cett, settings, params.seed, memory, snakemake.threads)
    path.save(snakemake.output[0], dict(params.items()))
