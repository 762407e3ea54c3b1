"""H-Neurons, from questions to Table 1 and Figure 3, for every model, data set, benchmark and α of a study."""

import sys

from snakemake.utils import min_version

from hneurons.config import SLUG, format_alpha, parse_study
from hneurons.errors import HNeuronsError
from hneurons.stages import VERSIONS

min_version("9.27")

if not config:

    configfile: "config/demo.yaml"


try:
    STUDY, MODELS = parse_study(config)
except HNeuronsError as error:
    sys.exit(f"error: {error}")


pathvars:
    study=f"results/{STUDY.study}",
    logs=f"logs/{STUDY.study}",
    timings=f"results/{STUDY.study}/timings",


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/models.smk"
include: "rules/responses.smk"
include: "rules/cett.smk"
include: "rules/probe.smk"
include: "rules/detection.smk"
include: "rules/impact.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        rules.table1.output,
        rules.figure3.output,
        # Named one by one, so that a file that was deleted is made again.
        SHARD_FILES,
        MODEL_FILES,
        RUN_FILES,
