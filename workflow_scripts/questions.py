from hneurons import store
from hneurons.config.study import SplitSettings
from hneurons.data.catalogue import questions_table
from hneurons.data.downloads import checked_hashes
from hneurons.joblog import job

with job(snakemake.log[0]):
    params = snakemake.params
    identity = params.asked
    files = checked_hashes(identity["sources"], snakemake.input)
    splits = SplitSettings(**identity["splits"]) if identity["splits"] else None
    rows, reading = slice(*params.rows), identity.get("own")
    table = questions_table(snakemake.wildcards.dataset, rows, identity["seed"], splits, list(files), reading)
    store.write_table(snakemake.output[0], table, {**dict(params.items()), "files": files})
