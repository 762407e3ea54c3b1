from hneurons.benchmarks.runner import run_alphas
from hneurons.joblog import job
from hneurons.models import identity, load_from_manifest
from hneurons.neurons import NeuronSet

with job(snakemake.log[0], snakemake.threads):
    model, tokenizer, manifest = load_from_manifest(snakemake.input.model)
    name = snakemake.wildcards.get("neurons", "untouched")
    path = snakemake.input.get("neurons")
    run_alphas(
        model,
        tokenizer,
        snakemake.wildcards.benchmark,
        NeuronSet.load(path).named(name) if path else None,
        dict(zip(snakemake.params.alphas, snakemake.output, strict=True)),
        snakemake.input.item_file,
        seed=snakemake.params.seed,
        token_budget=snakemake.resources.token_budget,
        made_by={**identity(manifest), "neurons": name, "stage": snakemake.params.stage},
    )
