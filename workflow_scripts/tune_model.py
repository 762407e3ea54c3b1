from pathlib import Path

from hneurons import store
from hneurons.config.setup import parse_study
from hneurons.joblog import job
from hneurons.models.prepare import write_manifest
from hneurons.models.prepared import PreparedModel
from hneurons.origin.tuning import tuned_checkpoint
from hneurons.records import EXAMPLES, RESPONSES

with job(snakemake.log[0], snakemake.threads):
    inputs, params, name = snakemake.input, snakemake.params, snakemake.wildcards.model
    settings = parse_study(snakemake.config).models[name]
    folder = Path(snakemake.output[0]).parent / "weights"
    done = tuned_checkpoint(
        PreparedModel(inputs.model, snakemake.resources.gpu),
        store.read_table(inputs.examples, EXAMPLES).to_pylist(),
        [row for path in inputs.responses for row in store.read_table(path, RESPONSES).to_pylist()],
        settings.finetune,
        params.seed,
        folder,
    )
    write_manifest(name, settings, snakemake.output[0], folder, folder.name, extra={"tuning": done})
