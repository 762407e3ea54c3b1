#!/bin/bash
# All measurements on one GPU: tables on the terminal, JSON in results/perf/. Under eight minutes on an H200.
set -euo pipefail
cd "$(dirname "$0")/.."
for shape in "${@:-llama-3.1-8b gemma-3-4b}"; do
  for each in $shape; do python perf/gpu.py --shape "$each"; done
done
