"""Versions of the stages. Raise a stage's number when its results change: that stage and all that follows it reruns."""

VERSIONS = {
    "questions": 1,
    "model": 1,
    "responses": 1,
    "verdicts": 2,
    "spans": 2,
    "examples": 3,
    "cett": 1,
    "probe": 2,
    "suppressed": 1,
    "detection": 4,
    "items": 2,
    "replies": 3,
    "judged": 2,
    "utility": 2,
    "tune": 1,
    "drift": 1,
    "agreement": 1,
    "published": 1,
    "figures": 3,
}
