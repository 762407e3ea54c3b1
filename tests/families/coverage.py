"""What the package does with every decoder type: right, refused in one line, wrong, crashed, or not built."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import tempfile
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from peft import PeftModel
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from hneurons.cett.measure import cett
from hneurons.cett.regions import TokenRegions
from hneurons.config.models import ModelSettings
from hneurons.config.study import Decoding
from hneurons.errors import HNeuronsError
from hneurons.generation.decode import generate
from hneurons.generation.next_token import choose
from hneurons.models.layouts import NO_ADAPTERS
from hneurons.models.load import load_model
from hneurons.models.prepare import prepare
from hneurons.neurons.export import export
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.neurons.scaling import scaled, scaled_rows
from tests.families import reference
from tests.families.build import TYPES, VOCABULARY, tiny
from tests.paths import ROOT

ALPHA = 3.0
PROMPTS = [[5, 6, 7, 8, 9], [5, 6, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21], [5, 6, 30, 31, 32, 33, 34, 35]]
GREEDY = Decoding(max_new_tokens=10, temperature=0)
SAMPLED = Decoding(max_new_tokens=10, temperature=1.0, top_k=20, top_p=0.9)
# What `hneurons plan` names types by.
TESTED = ROOT / "hneurons/models/tested_types.txt"
# Distances below this are rounding.
NEAR = 1e-4
TOLERANCE = 1e-3
# What would end a cell of a table, or begin code in it.
_PLAIN = str.maketrans("|`", "/'")


_PAGE = """# Models

This page is written by `make test-families`.
It builds a tiny random model of each of the {total} decoder types that transformers {version} knows, saves it, and puts it
through what the package does with a model:

- CETT of every neuron, alone, in a batch and after a shared beginning, against its definition in float64:
  how far the output of the MLP moves without the neuron's column, over the output;
- greedy decoding and sampling of several texts in a batch:
  each token and its log-probability against one pass over all before it;
- scaling by columns, by the hook, in an exported checkpoint and in an adapter, against columns multiplied by hand.

{n_right} types are right.
{n_refused} are refused in one line, when a study is planned or a model is prepared.
{n_not_built} could not be built tiny, or read no text alone.
Every model is also checked on a few tokens when it is loaded, and refused if it does something else than its type here.
Of a multimodal model the text decoder is measured.

## Right

{right}

Adapters are written for all of these but GPT-2 and its relatives, whose weights are transposed, and {no_adapters},
which PEFT would load otherwise: those are exported.

## Packed weights

- `bitsandbytes` in 8 and 4 bits and `torchao` int8, as checkpoints or by `quantization` in the models file:
  measured as the layers act. Columns are what they make of unit vectors, and scaling multiplies their inputs.
- `compressed-tensors`, `fp8` and `mxfp4` (GPT-OSS): unpacked as they are loaded, in the model's dtype, and measured so.
  Inputs that a server would pack are not packed.
- `gptq`, `awq` and others: not tested, and refused when a study is planned.

The first need `pip install 'hneurons[quantised]'` or `pip install torchao`; on a GPU none of this has been tested.
With 8-bit inputs a value depends a little on the other rows of its batch.
Experts must be plain or unpacked. Packed checkpoints can be neither exported nor compared for drift: take the plain ones.
`tests/unit/test_packed_weights.py` has tiny checkpoints of each.

## Refused

| why | types |
|---|---|
{refused}

## Not built

These are not tested, and a real model of such a type may work or be refused.

| type | what the attempt ended with |
|---|---|
{not_built}
"""


class WrongError(Exception):
    """A number is not what it is by definition."""


@dataclass(frozen=True)
class Row:
    """What came out for a type.

    Attributes:
        kind: the type.
        outcome: "right", "refused", "refused late" (by one of prepare and loading, or later), "wrong", "crashed" or
            "not built".
        detail: the line that the user sees, or what differs.
    """

    kind: str
    outcome: str
    detail: str = ""


def _close(what: str, got: object, expected: object, least: float = 0.0) -> None:
    """Raise WrongError if values differ by more than rounding, relative to the largest of them or to `least`."""
    got, expected = (np.asarray(torch.as_tensor(x).double()) for x in (got, expected))
    if got.shape != expected.shape:
        raise WrongError(f"{what}: {got.shape} in place of {expected.shape}")
    if not np.isfinite(expected).all():
        raise WrongError(f"{what}: the reference is not finite")
    error = np.abs(got - expected).max() / max(least, np.abs(expected).max())
    if not error < TOLERANCE:
        raise WrongError(f"{what}: off by {error:.1e}")


def _sequences() -> list[TokenRegions]:
    regions = []
    for ids in PROMPTS:
        answer = [i >= len(ids) - 3 for i in range(len(ids))]
        regions.append(TokenRegions(ids, [answer, [not a for a in answer]]))
    return regions


def _check_cett(model: PreTrainedModel, plain: PreTrainedModel) -> None:
    sequences = _sequences()
    together = dict(cett(model, sequences))
    for i, sequence in enumerate(sequences):
        ((_, alone),) = cett(model, [sequence])
        for layer, expected in enumerate(reference.cett_by_definition(plain, sequence.ids, sequence.regions)):
            values = alone[:, layer]
            _close(f"CETT of layer {layer}", values[:, : expected.shape[1]], expected)
            if values[:, expected.shape[1] :].any():
                raise WrongError(f"CETT of layer {layer}: values after its last neuron")
        _close("CETT in a batch", together[i], alone)


def _check_decoding(model: PreTrainedModel, plain: PreTrainedModel) -> None:
    """Every token drawn in a batch is the one that a pass over all before it gives, up to rounding."""
    stops, seeds = [VOCABULARY - 1], list(range(len(PROMPTS)))
    for decoding, samples in ((GREEDY, 1), (SAMPLED, 4)):
        drawn = dict(generate(model, PROMPTS, decoding, seeds=seeds, stop_ids=stops, samples=samples))
        for seed, prompt in zip(seeds, PROMPTS, strict=True):
            generator = torch.Generator().manual_seed(seed)
            uniforms = torch.rand(samples, decoding.max_new_tokens, generator=generator)
            for response, of_response in zip(drawn[seed], uniforms, strict=True):
                logits = reference.logits(plain, [*prompt, *response.token_ids])[len(prompt) - 1 : -1]
                logprobs = logits.log_softmax(-1)[torch.arange(len(logits)), response.token_ids]
                _close("log-probabilities", response.logprobs, logprobs, least=1.0)
                for step, (token, u) in enumerate(zip(response.token_ids, of_response, strict=False)):
                    row, rows = logits[step][None], torch.zeros(1, dtype=torch.long)
                    best = row.max() - row[0, token] < NEAR
                    near = [choose(row, decoding, (u + d).clamp(0, 1)[None], rows) for d in (-NEAR, 0, NEAR)]
                    if not (best if decoding.temperature == 0 else token in near):
                        raise WrongError(f"decoding of {prompt}: token {step} is {token} in place of {int(near[1])}")


def _check_scaling(model: PreTrainedModel, plain: PreTrainedModel, folder: Path) -> None:
    layers = reference.mlps(plain)
    count = len(layers)
    widths = [sum(weight.shape[1] for weight in mlp.columns(mlp.blocks)) for mlp in layers]
    # Of experts, some of every one that the text is sent to, and the last neuron, which is shared where anything is.
    neurons = {0: [1, 5, *range(7, widths[0], 19)], count - 1: [3, widths[-1] - 1]}
    ids = torch.tensor([PROMPTS[1]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    expected = reference.scaled_logits(plain, PROMPTS[1], neurons, ALPHA)
    with torch.no_grad():
        with scaled(model, neurons, ALPHA):
            _close("scaled columns", model(**inputs).logits[0], expected)
        with scaled_rows(model, [(neurons, ALPHA)]):
            _close("the scaling hook", model(**inputs).logits[0], expected)
        of_layer, indices = zip(*((layer, j) for layer, chosen in neurons.items() for j in chosen), strict=True)
        n = len(of_layer)
        neuron_set = NeuronSet(np.array(of_layer), np.array(indices), np.ones(n), np.ones(n, bool), {"layers": count})
        export(folder, neuron_set, ALPHA, folder.with_name("scaled"), strict=False)
        exported = load_model(folder.with_name("scaled"), dtype="float32")
        _close("the exported checkpoint", exported(**inputs).logits[0], expected)
        if plain.config.model_type not in NO_ADAPTERS and all(mlp.has_adapters for mlp in layers):
            adapter = export(folder, neuron_set, ALPHA, folder.with_name("adapter"), form="lora", strict=False)
            adapted = PeftModel.from_pretrained(load_model(folder, dtype="float32"), str(adapter))
            _close("the adapter", adapted(**inputs).logits[0], expected)


def outcome(kind: str) -> Row:
    """Build a tiny model of a type, save it, and put it through what the package does with a model."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        try:
            plain = tiny(kind)
            plain.save_pretrained(folder)
            ids = torch.tensor([PROMPTS[1]])
            with torch.no_grad():
                logits = plain(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
            if not torch.isfinite(logits).all() or logits.shape[:2] != ids.shape:
                raise ValueError(f"its logits of text alone are {tuple(logits.shape)} or not finite")
        except Exception as error:
            return Row(kind, "not built", _line(error))
        refusals = []
        model = None
        for check in (
            lambda: prepare(kind, ModelSettings(folder=str(folder), dtype="float32"), folder.with_name("manifest.json")),
            lambda: load_model(folder, dtype="float32"),
        ):
            try:
                model = check()
            except HNeuronsError as error:
                refusals.append(str(error))
            except Exception as error:
                return Row(kind, "crashed", _place(error))
        if len(refusals) == 2:
            return Row(kind, "refused", refusals[0].replace(str(folder), "…"))
        if refusals:
            return Row(kind, "refused late", refusals[0].replace(str(folder), "…"))
        try:
            _check_cett(model, plain)
            _check_decoding(model, plain)
            _check_scaling(model, plain, folder)
        except WrongError as error:
            return Row(kind, "wrong", str(error))
        except HNeuronsError as error:
            return Row(kind, "refused late", str(error))
        except Exception as error:
            return Row(kind, "crashed", _place(error))
        return Row(kind, "right")


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def _place(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno} {_line(error)}"


def _quiet() -> None:
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def rows(kinds: list[str]) -> Iterator[Row]:
    """The rows of these types, from all cores."""
    with ProcessPoolExecutor(os.cpu_count(), initializer=_quiet) as pool:
        yield from pool.map(outcome, kinds)


def page(results: list[Row]) -> str:
    """The table of what is supported, as a page of the documentation."""
    by_outcome = {name: [row for row in results if row.outcome == name] for name in ("right", "refused", "not built")}
    reasons: dict[str, list[str]] = defaultdict(list)
    for row in by_outcome["refused"]:
        reasons[_reason(row)].append(f"`{row.kind}`")
    most_first = sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0]))
    return _PAGE.format(
        version=transformers.__version__,
        total=len(results),
        no_adapters=", ".join(f"`{kind}`" for kind in NO_ADAPTERS),
        **{f"n_{name.replace(' ', '_')}": len(members) for name, members in by_outcome.items()},
        right=", ".join(f"`{row.kind}`" for row in by_outcome["right"]),
        refused="\n".join(f"| {reason} | {', '.join(kinds)} |" for reason, kinds in most_first),
        not_built="\n".join(f"| `{row.kind}` | {row.detail.translate(_PLAIN)} |" for row in by_outcome["not built"]),
    )


def _reason(row: Row) -> str:
    """Why a type is refused, without the names of its classes and the numbers of its layers."""
    line = row.detail.removeprefix(f"model {row.kind}: ").replace("…: ", "").replace("|", "/")
    line = re.sub(r"^\w+: (layer \d+ \(\w+\) has)?", lambda match: "a layer has" if match[1] else "", line)
    return re.sub(r"^models of type \S+ are not supported: ", "", line)


def main() -> None:
    """Print a line for each type, or write the page of the documentation."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("types", nargs="*", default=TYPES)
    parser.add_argument("--page", type=Path, help="the page to write, of all types")
    arguments = parser.parse_args()
    results = []
    for row in rows(arguments.types):
        print(f"{row.kind}\t{row.outcome}\t{row.detail}", flush=True)
        results.append(row)
    print(dict(Counter(row.outcome for row in results)), file=sys.stderr)
    if arguments.page:
        arguments.page.write_text(page(results), encoding="utf-8")
        right = [row.kind for row in results if row.outcome == "right"]
        TESTED.write_text("\n".join(right) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
