# make demo   the main job on real images, with TensorFlow
# make test   the tests on TensorFlow, JAX and PyTorch
# make ci     those, and the tests on the lowest Keras, lint, types and docs
# make docs   the documentation, in site/
#
# All set up everything that they need in .venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
BACKENDS := tensorflow jax torch
LOWEST := test-lowest-keras-tensorflow test-lowest-keras-torch

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

.PHONY: demo test ci lint docs test-lowest-keras clean $(BACKENDS:%=test-%) $(LOWEST)

demo: $(VENV)/demo-ready
	KERAS_BACKEND=tensorflow $(BIN)/keras-kd demo $(ARGS)

# Two backends at a time, each in a process of its own, and the longest first: nobody
# waits for a last long one.
IN_TWO_LANES := $(MAKE) --no-print-directory -k -j2 --output-sync=target
test: $(VENV)/test-ready
	$(IN_TWO_LANES) $(BACKENDS:%=test-%)

# All that .ci/run asks for. What takes seconds first; and no installation beside tests.
ci: $(VENV)/test-ready $(VENV)/docs-ready .lowest-keras
	$(IN_TWO_LANES) lint test-jax test-tensorflow test-torch docs test-lowest-keras-torch \
		test-lowest-keras-tensorflow

# What no backend can change runs with the one that compiles nothing: the markers are
# explained in pyproject.toml.
OF_BACKENDS := -m "not once and not one_backend"
test-tensorflow test-jax: SELECTED := $(OF_BACKENDS)
# Threads of PyTorch that wait for each other beside another lane take several times as
# long as one that works.
test-torch test-lowest-keras-torch: export OMP_NUM_THREADS := 1
$(BACKENDS:%=test-%): test-%: $(VENV)/test-ready
	@echo "== tests on $*"
	KERAS_BACKEND=$* $(BIN)/python -m pytest $(SELECTED) $(ARGS)

lint: $(VENV)/test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Strict: a link that leads nowhere, or a name that is not there, is an error. The
# page of the command line is made by a program that is looked for on PATH.
docs: $(VENV)/docs-ready
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true KERAS_BACKEND=tensorflow \
		PATH="$(abspath $(BIN)):$$PATH" $(BIN)/mkdocs build --quiet --strict
	@ls site/assets/stylesheets/main.*.css >/dev/null || { echo "The pages have no style: the theme's files were left out."; exit 1; }

# The oldest Keras that pyproject.toml admits, laid over the environment.
test-lowest-keras: $(LOWEST)

# All that there is of it with the backend that compiles nothing; with TensorFlow, what
# stands on Keras's trainer, of which each backend has its own.
test-lowest-keras-torch: SELECTED := -m "not once"
test-lowest-keras-tensorflow: SELECTED := $(OF_BACKENDS) tests/distiller tests/callbacks \
	tests/saved_files tests/test_keras_internals.py
$(LOWEST): test-lowest-keras-%: $(VENV)/test-ready .lowest-keras
	@echo "== tests on the lowest Keras, with $*"
	PYTHONPATH=.lowest-keras KERAS_BACKEND=$* $(BIN)/python -m pytest $(SELECTED) $(ARGS)

.lowest-keras: $(VENV)/test-ready pyproject.toml
	$(PIP) --upgrade --no-deps --target $@ "keras==$$(sed -n 's/.*"keras>=\([0-9.]*\)".*/\1/p' pyproject.toml).0"
	@touch $@

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
