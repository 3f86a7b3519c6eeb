# `make` prints what there is. Everything here is a thin wrapper: the commands have more options (--help).

PYTHON ?= python3
PY := .venv/bin/python

RUN ?= runs/demo
EXPORT ?= exports/$(notdir $(RUN))
OUT ?= scores.jsonl
ARGS ?=
JOBS ?= 2

# Where containers set it, every command would compile the sources of torch and Lightning anew: 8 s each.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup lock demo test check train export publish release serve stop score bench

help: ## Print this help
	@echo "make TARGET [VARIABLE=value ...]"
	@echo
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1|/' | awk -F'|' '{printf "  %-8s %s\n", $$1, $$2}'
	@echo
	@echo "Variables, with what they are now:"
	@echo "  RUN=$(RUN)  EXPORT=$(EXPORT)  OUT=$(OUT)"
	@echo "  ARGS=       more options and arguments for the command, e.g. make score ARGS='photos/ --concurrency 8'"
	@echo "  CONFIG=     TOML file of make train"
	@echo "  WEIGHTS=    published weights for make demo instead of training: file, folder, or hf:owner/name@revision"
	@echo "  PYTHON=$(PYTHON)  the Python (3.11 or 3.12) that make setup starts from"

setup: ## Make .venv and .venv-triton from the pinned files (up to 3 minutes, then half a second)
	@$(PYTHON) server/environment.py

lock: setup ## Pin requirements.txt and server/requirements.txt anew from pyproject.toml and server/requirements.in
	$(PY) -m server.lock $(ARGS)

demo: setup ## Media, training, export, Triton, scores and a report, on CPU; downloads set-up's packages alone (5 minutes)
	$(PY) -m benchmarks demo $(if $(WEIGHTS),--weights '$(WEIGHTS)') $(ARGS)

test: setup ## All tests, JOBS=2 files at a time; make test ARGS='-m "not slow"' for the quick ones
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: setup ## ruff, mypy, codespell
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy $(wildcard lnclip training export server client benchmarks)
	$(PY) -m codespell_lib .

train: setup ## LN-tune: CONFIG -> RUN
	$(PY) -m training fit --config $(or $(CONFIG),$(error which configuration? make train CONFIG=training/configs/NAME.toml RUN=runs/NAME)) --out $(RUN) $(ARGS)

export: setup ## RUN -> ONNX graphs with their proof of parity in EXPORT
	$(PY) -m export onnx $(RUN) --out $(EXPORT) $(ARGS)

publish: setup ## EXPORT -> the next version in build/repository; a running server answers with it at once
	$(PY) -m export publish $(EXPORT) $(ARGS)

release: setup ## Retrained to served: export RUN, publish it, and say how long each step took
	$(PY) -m export release $(RUN) --out $(EXPORT) $(ARGS)

serve: setup ## Publish EXPORT (with MTCNN as face detector where there is none) and start Triton on 127.0.0.1
	$(PY) -m server init
	test -e build/repository/face_detector/1/detector.json || $(PY) -m export face-detector mtcnn
	$(PY) -m export publish $(EXPORT)
	$(PY) -m server start $(ARGS)

stop: setup ## Stop Triton: work in flight is finished first
	$(PY) -m server stop $(ARGS)

score: setup ## Score files and folders into OUT: make score ARGS='photos/ one.jpg' OUT=scores.csv
	$(PY) -m client score --out $(OUT) $(ARGS)

bench: setup ## Run python -m benchmarks: make bench ARGS=demo (the figures' commands follow)
	$(PY) -m benchmarks $(ARGS)
