# make demo   the main job on real images, with TensorFlow
# make test   the tests on TensorFlow, JAX and PyTorch
# make docs   the documentation, in site/
#
# All set up everything that they need in .venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
BACKENDS := tensorflow jax torch

# Without a GPU: TensorFlow's CPU build, and no CUDA package by accident.
ifeq ($(shell command -v nvidia-smi),)
CONSTRAINTS := constraints-no-gpu.txt
else
CONSTRAINTS := constraints.txt
endif
ifeq ($(shell uname -sm),Linux x86_64)
TENSORFLOW := tensorflow-cpu
else
TENSORFLOW := tensorflow
endif

.PHONY: demo test lint docs test-lowest-keras clean $(BACKENDS:%=test-%)

demo: $(VENV)/demo-ready
	KERAS_BACKEND=tensorflow $(BIN)/keras-kd demo $(ARGS)

# Two backends at a time, each in a process of its own.
test: $(VENV)/test-ready
	$(MAKE) --no-print-directory -k -j2 --output-sync=target $(BACKENDS:%=test-%)

$(BACKENDS:%=test-%): test-%: $(VENV)/test-ready
	@echo "== tests on $*"
	KERAS_BACKEND=$* $(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Strict: a link that leads nowhere, or a name that is not there, is an error. The
# page of the command line is made by a program that is looked for on PATH.
docs: $(VENV)/docs-ready
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true KERAS_BACKEND=tensorflow \
		PATH="$(abspath $(BIN)):$$PATH" $(BIN)/mkdocs build --quiet --strict

# The oldest Keras that pyproject.toml admits, laid over the environment.
test-lowest-keras: $(VENV)/test-ready
	$(PIP) --upgrade --no-deps --target .lowest-keras "keras==$$(sed -n 's/.*"keras>=\([0-9.]*\)".*/\1/p' pyproject.toml).0"
	PYTHONPATH=.lowest-keras KERAS_BACKEND=tensorflow $(BIN)/python -m pytest $(ARGS)

$(VENV)/python-ready:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "keras_kd needs Python 3.11 or later. Received: Python " + sys.version.split()[0] + " (make PYTHON=python3.11 ...)")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/demo-ready: $(VENV)/python-ready pyproject.toml constraints.txt
	$(PIP) -c $(CONSTRAINTS) $(TENSORFLOW)
	$(PIP) -c $(CONSTRAINTS) -e ".[plot]"
	@touch $@

$(VENV)/docs-ready: $(VENV)/demo-ready
	$(PIP) -c $(CONSTRAINTS) -e ".[plot,docs]"
	@touch $@

# PyTorch first and by its exact version: what depends on it then takes it as it is.
$(VENV)/test-ready: $(VENV)/demo-ready
	$(PIP) -c $(CONSTRAINTS) torch || { echo "No CPU build of PyTorch was found. Point pip at one (PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS) and try again."; exit 1; }
	$(PIP) -c $(CONSTRAINTS) -e ".[jax,datasets,plot,dev]"
	$(PIP) -c constraints.txt --no-deps torchdistill keras-cv
	$(PIP) -c $(CONSTRAINTS) -r tests/requirements.txt
	@touch $@

clean:
	rm -rf $(VENV) .lowest-keras build site *.egg-info
