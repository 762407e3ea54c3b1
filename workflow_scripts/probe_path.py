from hneurons import store
from hneurons.config.setup import parse_study
from hneurons.config.study import ProbeSettings
from hneurons.data.gold_answers import answer_groups
from hneurons.joblog import job
from hneurons.probe.path import fit_probe_path
from hneurons.records import QUESTIONS

with job(snakemake.log[0], snakemake.threads):
    inputs, params = snakemake.input, snakemake.params
    path = fit_probe_path(
        inputs.cett,
        ProbeSettings(**params.probe),
        params.seed,
        parse_study(snakemake.config).study.runtime.probe_memory_gb,
        snakemake.threads,
        gold_of=answer_groups(store.read_table(inputs.questions, QUESTIONS).to_pylist()),
    )
    path.save(snakemake.output[0], dict(params.items()))
