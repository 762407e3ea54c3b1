from hneurons import store
from hneurons.config.setup import parse_study
from hneurons.config.study import ProbeSettings
from hneurons.data.gold_answers import answer_groups
from hneurons.generation.prompts import template_hash
from hneurons.joblog import job
from hneurons.models.prepared import PreparedModel
from hneurons.probe.choice import compare_C
from hneurons.probe.examples import read_example_frame
from hneurons.probe.path import fit_probe_path
from hneurons.probe.stage import finish_probe
from hneurons.records import QUESTIONS

with job(snakemake.log[0], snakemake.threads):
    inputs, params = snakemake.input, snakemake.params
    prepared, settings = PreparedModel(inputs.model), ProbeSettings(**params.probe)
    memory_gb = parse_study(snakemake.config).study.runtime.probe_memory_gb
    gold_of = answer_groups(store.read_table(inputs.questions, QUESTIONS).to_pylist())
    path = fit_probe_path(inputs.cett, settings, params.seed, memory_gb, snakemake.threads, gold_of=gold_of)
    choice = compare_C(path, judged=None)
    made_by = {**prepared.identity, **dict(params.items()), "chat_template": template_hash(prepared.tokenizer)}
    frame = read_example_frame(params.in_domain, [inputs.questions], [inputs.examples], inputs.responses, inputs.spans)
    options = {"memory_gb": memory_gb, "threads": snakemake.threads}
    probe = finish_probe(inputs.cett, path, choice, settings, params.seed, made_by, frame, **options)
    probe.save(**dict(snakemake.output.items()), chosen=choice, made_by=made_by)
