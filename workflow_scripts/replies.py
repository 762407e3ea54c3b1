from hneurons.generation.study_engine import engine_for_study
from hneurons.impact.runs import run_sweep
from hneurons.joblog import job
from hneurons.neurons.neuron_set import NeuronSet

with job(snakemake.log[0], snakemake.threads) as record:
    inputs, params, needed = snakemake.input, snakemake.params, snakemake.resources
    path = inputs.get("neurons")
    with engine_for_study(
        snakemake.config, snakemake.wildcards.model, inputs.model, needed.gpu, needed.token_budget
    ) as engine:
        record["share"] = run_sweep(
            engine,
            snakemake.wildcards.benchmark,
            NeuronSet.load(path) if path else None,
            dict(zip(map(tuple, params.runs), snakemake.output, strict=True)),
            inputs.item_file,
            made_by={k: params[k] for k in ("seed", "prompt_date", "stage")},
        )
