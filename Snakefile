"""H-Neurons, from questions to Table 1 and Figure 3, for every model, data set, benchmark and α of a study."""

import sys

from snakemake.utils import min_version

from hneurons.budget import agreement_tasks, budget_line
from hneurons.config import format_alpha, parse_study
from hneurons.errors import HNeuronsError
from hneurons.judge_config import TASKS
from hneurons.settings import SLUG
from hneurons.sources import (
    SOURCES,
    benchmark_files,
    check_sources,
    dataset_files,
    missing,
    pinned,
    sources_named,
    sources_of_dataset,
)
from hneurons.stages import VERSIONS

min_version("9.27")

if not config:

    configfile: "config/demo.yaml"


try:
    STUDY, MODELS = parse_study(config)
    BUDGET = budget_line(STUDY)
    check_sources(STUDY)
    MISSING = missing(STUDY)
except HNeuronsError as error:
    sys.exit(f"error: {error}")

if workflow.is_main_process:
    for name, line in MISSING.items():
        print(f"missing, so not planned: {name}: {line}", file=sys.stderr)


onstart:
    if MISSING:
        sys.exit(
            f"error: files are missing for {', '.join(MISSING)}; put them there or take these out of the study"
        )
    if BUDGET:
        print(BUDGET, file=sys.stderr)


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
include: "rules/judges.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        TABLES,
        # Named one by one, so that a file that was deleted is made again.
        SHARD_FILES,
        MODEL_FILES,
        RUN_FILES,
