"""The files of a finished study, derived from the table of stages and the outputs of its rules."""


def files_of(name, whose):
    """All files that a finished study has from a rule; listing each one means that a deleted file is made again."""
    patterns = list(map(str, getattr(rules, name).output))
    if whose == stages.ONCE:
        return patterns
    models = {stages.EVERY: SETUP.models, stages.COMPARED: SETUP.partners}
    by_dataset = any("{dataset}" in pattern for pattern in patterns)
    files = {
        path: None
        for model in models.get(whose, STUDY.models)
        for dataset in (
            DATASETS_OF[SETUP.partners[model] if whose == stages.COMPARED else model]
            if by_dataset
            else [IN_DOMAIN]
        )
        for path in expand(
            patterns,
            model=model,
            dataset=dataset,
            shard=STUDY.shards(dataset),
            trained=ALSO_TRAINED,
            benchmark=AT_EVERY_ALPHA,
            neurons=STUDY.neuron_sets,
            task=AGREEMENT,
        )
    }
    return list(files)


def planned_rules(stage):
    """Yield the rules of a stage that this study runs, and for which models it keeps their files."""
    without_probe = (stages.EVERY, stages.STUDY)
    for name, whose in stage.rules.items():
        wanted = WITH_PROBE or whose in without_probe or name == "agreement_table"
        if whose and wanted and name not in LEFT_OUT:
            bundled = name in ("replies", "judge_scaled")
            bundles = range(len(BUNDLES)) if bundled else [None]
            yield from ((name if i is None else f"{name}_{i}", whose) for i in bundles)


TARGETS = [
    path
    for stage in stages.STAGES.values()
    for name, whose in planned_rules(stage)
    for path in files_of(name, whose)
]
# All downloads, and the files made from them.
FETCHED = [
    *expand(rules.prepare_model.output, model=SETUP.models),
    *expand(rules.question_set.output, dataset=DATASETS),
    *expand(rules.items.output, benchmark=AT_EVERY_ALPHA),
    *(text_files(STUDY) if HELD_OUT_TEXT not in MISSING else []),
]
