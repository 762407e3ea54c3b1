"""Versions of the stages. Raise a stage's number when its results change: that stage and all that follows it reruns."""

VERSIONS = {
    "questions": 1,
    "model": 1,
    "responses": 1,
    "verdicts": 1,
    "spans": 1,
    "examples": 1,
    "cett": 1,
    "probe": 1,
    "detection": 1,
    "items": 1,
    "impact": 1,
    "figures": 1,
}
