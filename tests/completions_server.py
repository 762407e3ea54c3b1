"""A server that speaks as vLLM does where the `vllm` engine asks: completions of token ids, several at once, and adapters.

This one generates with the package, so that what comes over the wire can be compared bit by bit.

    python -m tests.completions_server FOLDER PORT
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock

import torch
from safetensors.torch import load_file

from hneurons.config.study import Decoding
from hneurons.generation.decode import generate_batch
from hneurons.generation.prompts import newline_ids
from hneurons.models.load import load_model
from hneurons.models.tokenizer import load_tokenizer
from tests.paths import ROOT

# As the models file has it.
COMMAND = f"env PYTHONPATH={ROOT} {sys.executable} -m tests.completions_server {{folder}} {{port}}"
KNOWN = {
    *("model", "prompt", "n", "logprobs", "seed", "temperature", "top_p", "top_k", "max_tokens", "stop"),
    *("return_token_ids", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"),
}


@contextmanager
def adapted(model, folder):
    """Within the block, the model's weights have the adapter added: W + B A · lora_alpha / r."""
    if folder is None:
        yield
        return
    config = json.loads((Path(folder) / "adapter_config.json").read_text())
    tensors = load_file(Path(folder) / "adapter_model.safetensors")
    kept = {}
    with torch.no_grad():
        for name in config["target_modules"]:
            a, b = (tensors[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
            weight = model.get_submodule(name).weight
            kept[name] = weight.clone()
            weight += b @ a * config["lora_alpha"] / config["r"]
        yield
        for name, weight in kept.items():
            model.get_submodule(name).weight.copy_(weight)


class Handler(BaseHTTPRequestHandler):
    folder: str
    adapters: dict[str, str]
    lock = Lock()

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(200 if self.path == "/health" else 404, {})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/load_lora_adapter":
            self.adapters[asked["lora_name"]] = asked["lora_path"]
            return self.answer(200, "Success: LoRA adapter added successfully.")
        if self.path != "/v1/completions" or set(asked) - KNOWN:
            return self.answer(400, {"error": {"message": f"not known: {self.path}, {sorted(set(asked) - KNOWN)}"}})
        if asked["model"] not in (self.folder, *self.adapters):
            return self.answer(404, {"error": {"message": f"this server has {self.folder}, not {asked['model']}"}})
        decoding = Decoding(
            max_new_tokens=asked["max_tokens"],
            temperature=asked["temperature"],
            top_k=max(0, asked["top_k"]),
            top_p=asked["top_p"],
        )
        stops = [2, *(newline_ids(self.tokenizer) if asked.get("stop") else [])]
        with self.lock, adapted(self.model, self.adapters.get(asked["model"])):
            (found,) = generate_batch(
                self.model, [asked["prompt"]], decoding, seeds=[asked["seed"]], stop_ids=stops, samples=asked["n"]
            )
        choices = [
            {
                "index": i,
                "text": self.tokenizer.decode(r.token_ids, skip_special_tokens=True),
                "token_ids": r.token_ids,
                "finish_reason": "length" if r.truncated else "stop",
                "logprobs": {"token_logprobs": r.logprobs},
            }
            for i, r in enumerate(found)
        ]
        return self.answer(200, {"id": "1", "object": "text_completion", "created": 0, "model": "m", "choices": choices})


def main() -> None:
    torch.set_num_threads(1)
    Handler.folder, Handler.adapters, port = sys.argv[1], {}, int(sys.argv[2])
    Handler.model, Handler.tokenizer = load_model(Handler.folder, dtype="float32"), load_tokenizer(Handler.folder)
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
