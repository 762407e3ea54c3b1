from hneurons import store
from hneurons.config.setup import parse_study
from hneurons.config.study import ProbeSettings
from hneurons.data.gold_answers import answer_groups
from hneurons.generation.prompts import template_hash
from hneurons.joblog import job
from hneurons.models.prepared import PreparedModel
from hneurons.probe.choice import compare_C
from hneurons.probe.examples import read_example_frame
from hneurons.probe.path import ProbePath
from hneurons.probe.stage import finish_probe
from hneurons.probe.suppressed import verdicts_by_set
from hneurons.records import QUESTIONS, SUPPRESSED_VERDICTS, VERDICTS

with job(snakemake.log[0], snakemake.threads):
    inputs, params = snakemake.input, snakemake.params
    prepared, settings, path = PreparedModel(inputs.model), ProbeSettings(**params.probe), ProbePath.load(inputs.path)
    questions = store.read_table(inputs.questions, QUESTIONS).to_pylist()
    judged = None
    if inputs.suppressed:
        judged = verdicts_by_set(
            questions,
            settings.suppressed_questions,
            store.read_table(inputs.suppressed, SUPPRESSED_VERDICTS),
            [store.read_table(shard, VERDICTS) for shard in inputs.untouched],
        )
    made_by = {**prepared.identity, **dict(params.items()), "chat_template": template_hash(prepared.tokenizer)}
    choice = compare_C(path, judged, answer_groups(questions))
    probe = finish_probe(
        inputs.cett,
        path,
        choice,
        settings,
        params.seed,
        made_by,
        read_example_frame(params.in_domain, [inputs.questions], [inputs.examples], inputs.responses, inputs.spans),
        memory_gb=parse_study(snakemake.config).study.runtime.probe_memory_gb,
        threads=snakemake.threads,
    )
    probe.save(**dict(snakemake.output.items()), chosen=choice, made_by=made_by)
