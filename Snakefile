"""H-Neurons: from questions to Table 1, Figure 3 and Figure 4, for all models, data sets, benchmarks and α of a study."""

import os
import re
import shlex
import sys

from snakemake.utils import min_version

from hneurons.planning import estimates
from hneurons.planning.budget import agreement_tasks, budget_line
from hneurons.planning.slurm import (
    check_same_python,
    stay_offline,
    wait_for_earlier_jobs,
)
from hneurons.config.behaviours import ITEM_VERSIONS, TEST_QUESTIONS
from hneurons.config.impact import (
    UNTOUCHED,
    UNTOUCHED_ALPHA,
    format_alpha,
)
from hneurons.errors import HNeuronsError, machine_failure
from hneurons.config.judges import LLM, LLM_KINDS, TASKS
from hneurons.config.base import SLUG, read_yaml
from hneurons.config.datasets import is_own_set
from hneurons.data.sources import (
    HELD_OUT_TEXT,
    SOURCES,
    benchmark_files,
    check_sources,
    content_of,
    dataset_files,
    missing_files,
    pinned_hub_file,
    questions_identity,
    sources_named,
    dataset_sources,
    text_files,
)
from hneurons import stages
from hneurons.stages import VERSIONS
from hneurons.config.setup import parse_study

min_version("9.27")

# `smoke` is a separate study with its own configuration; its jobs must read the same file.
SMOKE = "config/smoke.yaml"
if not workflow.overwrite_configfiles:
    if workflow.is_main_process and "smoke" in sys.argv[1:]:
        workflow.overwrite_configfiles.append(os.path.abspath(SMOKE))

        configfile: SMOKE

    else:

        configfile: "config/config.yaml"


try:
    for file in dict.fromkeys([*workflow.configfiles, *workflow.overwrite_configfiles]):
        # Snakemake takes the last of two equal keys.
        read_yaml(file, "configfile")
    SETUP = parse_study(config)
    STUDY = SETUP.study
    BUDGET = budget_line(SETUP)
    check_sources(STUDY)
    if "smoke" in sys.argv[1:] and workflow.is_main_process and STUDY.study != "smoke":
        sys.exit(
            f"error: smoke is a study of its own: without --configfile it is {SMOKE}"
        )
    MISSING = missing_files(STUDY)
    check_same_python(workflow.is_main_process)
except (HNeuronsError, OSError) as error:
    sys.exit(f"error: {machine_failure(error) or error}")

# Snakemake puts this path into shell commands without quotes.
if os.path.exists(sys.executable):
    sys.executable = shlex.quote(sys.executable)

if workflow.remote_exec:
    stay_offline()

if workflow.is_main_process:
    for name, line in MISSING.items():
        print(f"missing, so not planned: {name}: {line}", file=sys.stderr)


onstart:
    if MISSING:
        sys.exit(
            f"error: files are missing for {', '.join(MISSING)}; put them there or take these out of the study"
        )
    from hneurons.impact.benchmarks.registry import check_own_files

    try:
        check_own_files(STUDY)
    except HNeuronsError as error:
        sys.exit(f"error: {error}")
    if BUDGET:
        print(BUDGET, file=sys.stderr)
    wait_for_earlier_jobs()


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
include: "rules/origin.smk"
include: "rules/report.smk"
include: "rules/targets.smk"


report: "report/workflow.rst"


localrules:
    all,
    fetch,
    smoke,


rule all:
    """The full study: every file of every stage that it includes."""
    default_target: True
    input:
        TARGETS,


rule fetch:
    """Download everything to the shared disk; afterwards only LLM judges need the internet."""
    input:
        FETCHED,


rule smoke:
    """Run one small model through every stage, to check the setup of a cluster."""
    input:
        rules.all.input,
