"""System prompts of the LLM judge by task, from prompts.yaml.

Changing one word makes a new prompt, whose replies are paid for again.
"""

import json
from pathlib import Path

from hneurons.config.base import read_yaml

_PROMPTS = read_yaml(Path(__file__).with_name("prompts.yaml"))
CORRECTNESS, PREMISE, OPTION, SPAN = (_PROMPTS[task] for task in ("correctness", "premise", "option", "span"))
# Follows a user's own instructions.
COMPLIANCE: str = _PROMPTS["compliance"]
HARM_GRADE: str = _PROMPTS["harm_grade"]
HARM_EXAMPLES: list[dict[str, str]] = _PROMPTS["harm_examples"]
HARM = "\n".join([_PROMPTS["harm"], "Examples:", *(json.dumps(example, ensure_ascii=False) for example in HARM_EXAMPLES)])
