"""What jobs need, computed by hand."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import yaml

from hneurons.config.models import EngineSettings
from hneurons.config.setup import parse_study
from hneurons.errors import HNeuronsError
from hneurons.planning import estimates
from tests.paths import ROOT

LLAMA_70B = "llama-3.3-70b-instruct"


def setup_of(name, cluster="", tmp_path=None, **changes):
    config = yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())
    files = {"models_file": str(ROOT / "config/models.yaml"), "cluster_file": str(ROOT / "config/cluster.yaml")}
    if cluster:
        (tmp_path / "cluster.yaml").write_text(cluster)
        files["cluster_file"] = str(tmp_path / "cluster.yaml")
    return parse_study({**copy.deepcopy(config), **files, **changes})


@pytest.fixture(scope="module")
def paper():
    return setup_of("config")


@pytest.mark.parametrize(
    ("model", "neurons", "gpus"),
    [
        ("mistral-7b-instruct-v0.3", 458_752, 1),
        ("mistral-small-3.1-24b-instruct", 1_310_720, 1),
        ("gemma-3-4b-it", 348_160, 1),
        ("gemma-3-27b-it", 1_333_248, 1),
        ("llama-3.1-8b-instruct", 458_752, 1),
        (LLAMA_70B, 2_293_760, 4),
    ],
)
def test_the_six_models(paper, model, neurons, gpus):
    assert paper.shapes[model].neurons == neurons
    assert paper.shapes[paper.partners[model]] == paper.shapes[model]
    assert estimates.gpus(paper, model) == gpus


def test_llama_70b_by_hand(paper):
    # 70,553,706,496 parameters of 2 bytes; 4,000 rows of 2,293,760 neurons of 2 bytes.
    assert estimates.weights_bytes(paper, LLAMA_70B) == 141_107_412_992
    assert estimates.cett_bytes(paper, LLAMA_70B, 4000) == 18_350_080_000
    # Of 16,384 tokens: keys and values of 80 layers x 1,024 in bfloat16, a layer of 28,672 neurons in float32, and the CETT
    # of all neurons in two regions of examples of 70 tokens, twice in float32.
    cache = 2 * 80 * 1024 * 2 * 16_384
    layer = 16_384 * (28_672 * 10 + 8 * 8192 * 2)
    cett = 16_384 / 70 * 2 * 2_293_760 * 8
    assert estimates.peak_gpu_bytes(paper, LLAMA_70B) == round(141_107_412_992 + cache + layer + cett)


def test_weights_of_the_paper_are_570_gb(paper):
    assert sum(estimates.weights_bytes(paper, m) for m in paper.models) / 1e9 == pytest.approx(570, rel=0.01)


def test_larger_gpus_are_fewer(tmp_path):
    h200 = setup_of("config", "{gpu_memory_gb: 141, speed: h200}", tmp_path)
    assert estimates.gpus(h200, LLAMA_70B) == 2
    assert estimates.gpus(setup_of("config", "gpu_memory_gb: 24", tmp_path), "mistral-small-3.1-24b-instruct") == 4


def test_examples_and_responses_of_the_paper_by_hand(paper):
    # 12,000 questions: 7,200 of training with ten samples each, 4,800 others with one.
    assert estimates.expected_responses(paper, LLAMA_70B, "triviaqa") == pytest.approx(7200 * 10 + 4800)
    # 0.15 of 7,200 are 1,080: the cap of 1,000 of each class holds.
    found = estimates.expected_examples(paper, LLAMA_70B, "triviaqa")
    assert found == pytest.approx({"train": 2000, "selection": 2 * 540, "test": 2 * 900})
    assert estimates.cett_rows(found) == pytest.approx(4000 + 1080 + 1800)
    base = paper.partners[LLAMA_70B]
    assert estimates.expected_responses(paper, base, "triviaqa") == pytest.approx(3000)
    assert estimates.expected_examples(paper, base, "triviaqa") == pytest.approx({"test": 1800})


def test_seconds_by_hand(paper):
    # Llama-3.3-70B reads 141 GB at 0.5 GB/s, samples 20,000 / 70.55 and reads 200,000 / 70.55 tokens a second.
    work = estimates.Work(read=1e6, new=1e5)
    expected = 20 + 141.107 / 0.5 + 70.5537 * (1e6 / 200_000 + 1e5 / 20_000)
    assert estimates.seconds(paper, LLAMA_70B, work) == pytest.approx(expected, rel=1e-4)
    # A server that is told the number of GPUs keeps all four of them busy.
    served = EngineSettings(command="vllm serve {folder} --port {port} -tp {gpus}", speaks="vllm")
    models = {**paper.models, LLAMA_70B: paper.models[LLAMA_70B].model_copy(update={"engine": served})}
    with_server = dataclasses.replace(paper, models=models)
    quarter = 20 + 141.107 / 0.5 + 70.5537 * (1e6 / 200_000 + 1e5 / 20_000) / 4
    assert estimates.seconds(with_server, LLAMA_70B, work) == pytest.approx(expected, rel=1e-4)
    generating = dataclasses.replace(work, generates=True)
    assert estimates.seconds(with_server, LLAMA_70B, generating) == pytest.approx(quarter, rel=1e-4)
    six = estimates.replies_work(paper, LLAMA_70B, "faitheval", runs=6)
    assert (six.read, six.new) == (6 * 1000 * 400, 6 * 1000 * 60)


def test_each_attempt_asks_for_more_up_to_what_the_cluster_gives(paper):
    sampling = estimates.sampling_work(paper, LLAMA_70B, "triviaqa")
    first, second = (estimates.gpu_job(paper, LLAMA_70B, sampling, attempt=a) for a in (1, 2))
    assert second["mem_mb"] == 2 * first["mem_mb"] > 2 * 141_000 and second["runtime"] == 2 * first["runtime"]
    assert first["gpu"] == second["gpu"] == 4
    replies = estimates.replies_work(paper, LLAMA_70B, "sycophancy", runs=6)
    assert estimates.gpu_job(paper, LLAMA_70B, replies, attempt=3)["runtime"] == 24 * 60
    # What the plan reads does not grow: it is the time that the job is expected to take.
    assert (
        first["expected_s"] == second["expected_s"] == pytest.approx(estimates.seconds(paper, LLAMA_70B, sampling), abs=1)
    )
    assert set(first) == set(estimates.GPU_RESOURCES)


def test_a_model_without_gpus_runs_on_the_cpu():
    demo = setup_of("demo")
    name = "smollm2-135m-instruct"
    assert estimates.gpus(demo, name) == 0 and estimates.weights_bytes(demo, name) == 538_060_032
    assert estimates.speed(demo, name) == demo.cluster.speeds["cpu"]
    assert estimates.gpu_job(demo, name, estimates.cett_work(demo, name, "cities"))["gpu"] == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("acount: lab", "acount: unknown key; allowed keys: account, partition"),
        ("speed: h300", "speed 'h300' is not among speeds: h200, h100"),
        ("gpu_memory_gb: much", "gpu_memory_gb: Input should be a valid number"),
        ("a: b: c", "no valid YAML"),
    ],
)
def test_a_wrong_cluster_file_is_told_in_one_line(tmp_path, text, says):
    with pytest.raises(HNeuronsError) as caught:
        setup_of("demo", text, tmp_path)
    assert says in str(caught.value) and "\n" not in str(caught.value) and "cluster.yaml" in str(caught.value)


def test_the_cluster_file_places_jobs(tmp_path):
    cluster = setup_of("demo", "{account: lab, partition: cpu, gpu_partition: gpu, gpu_type: a100}", tmp_path).cluster
    assert cluster.slurm() == {"slurm_account": "lab", "slurm_partition": "cpu"}
    assert cluster.slurm(gpu=True) == {"slurm_account": "lab", "slurm_partition": "gpu", "gpu_model": "a100"}


def test_a_model_of_unknown_size_is_named(tmp_path):
    (tmp_path / "models.yaml").write_text("m: {hub: {id: a/b, revision: " + "a" * 40 + "}}\nn: {folder: nowhere}\n")
    for name, says in (
        ("m", "models: m: shape is missing (layers, d_ff"),
        ("n", "models: n: nowhere/config.json is missing"),
    ):
        with pytest.raises(HNeuronsError) as caught:
            setup_of("demo", models=[name], origin=None, models_file=str(tmp_path / "models.yaml"))
        assert says in str(caught.value)


def test_a_folder_tells_its_size(tmp_path, llama):
    llama.save_pretrained(tmp_path / "model")
    (tmp_path / "models.yaml").write_text(f"tiny: {{folder: {tmp_path / 'model'}, dtype: float32}}\n")
    shape = setup_of(
        "demo", "{}", tmp_path, models=["tiny"], origin=None, models_file=str(tmp_path / "models.yaml")
    ).shapes["tiny"]
    assert (shape.layers, shape.d_ff, shape.d_model, shape.vocabulary) == (3, 48, 32, 400)
    assert shape.parameters == pytest.approx(sum(p.numel() for p in llama.parameters()), rel=0.05)
