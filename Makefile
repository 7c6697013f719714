# Every target does its own set-up in .venv; nothing else on the machine is changed.
#   make demo    tune a CNN on real handwritten digits and show where everything is
#   make lab     open the notebooks in JupyterLab
#   make app     the dashboard alone, as an application in the browser
#   make test    everything that must pass: style, types, tests, notebooks
#   make check   the same without the slow tests and the notebooks
#   make compat-lowest, compat-newest, compat-colab
#                the quick tests with the lowest versions of everything, with the newest, and with those of Google Colab
#   make docs    the documentation as a website, in build/site
#   make dist    the package as it is uploaded for a release, in dist, tried by itself
# PYTHON=python3.12 chooses another Python (3.11 to 3.13); compat-… want the ones named below.

PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,$(shell \
	$(name) -c 'import sys; exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $(name))))
VENV := .venv
BIN := $(VENV)/bin
PYTEST_FLAGS ?=
LOWEST_PYTHON ?= python3.11
COLAB_PYTHON ?= python3.12
NEWEST_PYTHON ?= python3.13

.PHONY: demo lab app test check style notebooks compat-lowest compat-colab compat-newest docs dist clean

demo: $(VENV)/.installed-core
	@$(BIN)/python -m hpoviz.demo

lab: $(VENV)/.installed-lab
	$(BIN)/jupyter lab notebooks

app: $(VENV)/.installed-lab
	$(BIN)/voila notebooks/app.ipynb

test: style
	$(BIN)/python -m pytest --nbval-lax tests hpoviz notebooks $(PYTEST_FLAGS)

check: style
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_FLAGS)

style: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Run the notebooks anew and keep their outputs.
notebooks: $(VENV)/.installed-dev
	$(BIN)/python tests/refresh_notebooks.py

compat-lowest:
	$(LOWEST_PYTHON) tests/compat/environment.py lowest $(PYTEST_FLAGS)

compat-colab:
	$(COLAB_PYTHON) tests/compat/environment.py colab $(PYTEST_FLAGS)

compat-newest:
	$(NEWEST_PYTHON) tests/compat/environment.py newest $(PYTEST_FLAGS)

# A warning is an error, and so is a reference that leads nowhere.
docs: $(VENV)/.installed-dev
	$(BIN)/sphinx-build -q -n -W --keep-going -c docs . build/site
	@echo "The site: build/site/index.html"

# What is uploaded for a release, tried in an environment that has nothing else.
dist: $(VENV)/.installed-dev
	rm -rf dist build/wheel
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(PYTHON) -m venv build/wheel
	build/wheel/bin/python -m pip install --quiet dist/*.whl
	cd build && wheel/bin/python -P -m hpoviz.demo
	@echo "Ready: dist/"

clean:
	rm -rf $(VENV) build dist hpoviz.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "hpoviz needs Python 3.11, 3.12 or 3.13. Install one, or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-core: $(VENV)/bin/python pyproject.toml
	@echo "Installing hpoviz with TensorFlow into $(VENV) (about 2 GB, some minutes) …"
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-lab: $(VENV)/.installed-core
	$(BIN)/python -m pip install --quiet --editable '.[lab]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-core
	$(BIN)/python -m pip install --quiet --editable '.[dev,docs,lab,runpod]'
	@touch $@
