#!/bin/bash
# The demo's model through the DAG on one GPU, and where the minutes go: perf/gpu_demo.sh [CORES [OPTIONS OF SNAKEMAKE]]
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p results
python - <<'END'
import yaml
from pathlib import Path

study = yaml.safe_load(Path("config/demo.yaml").read_text())
study |= {"study": "demo-gpu", "models": ["smollm2-135m-instruct-gpu"], "origin": None}
Path("results/demo-gpu.yaml").write_text(yaml.safe_dump(study))
END
time python -m snakemake --configfile results/demo-gpu.yaml --cores "${1:-$(nproc)}" --resources gpu=1 --quiet rules "${@:2}"
python perf/minutes.py results/demo-gpu/
