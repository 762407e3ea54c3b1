from hneurons.benchmarks.runner import run_alphas
from hneurons.joblog import job
from hneurons.models import Prepared
from hneurons.neurons import NeuronSet

with job(snakemake.log[0], snakemake.threads) as record:
    params = snakemake.params
    name = snakemake.wildcards.get("neurons", "untouched")
    path = snakemake.input.get("neurons")
    record["share"] = run_alphas(
        Prepared(snakemake.input.model, snakemake.resources.gpu),
        snakemake.wildcards.benchmark,
        NeuronSet.load(path).named(name) if path else None,
        dict(zip(params.alphas, snakemake.output, strict=True)),
        snakemake.input.item_file,
        token_budget=snakemake.resources.token_budget,
        made_by={"neurons": name, **{k: params[k] for k in ("seed", "prompt_date", "stage")}},
    )
