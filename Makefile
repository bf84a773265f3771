# Everything happens in virtual environments inside this folder; the system's Python is never touched.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# One thread for each numerical library: trials and tests run side by side, not inside each other.
export OMP_WAIT_POLICY = PASSIVE
BENCHMARKS := data_preparation data_loading training local_startup sagemaker_launcher local_search

.PHONY: help demo test test-fast coverage compile generate dist image lint format bench test-mxnet test-sagemaker-sdk test-cluster test-e2e setup clean

help:  ## what the targets do
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 (this is " + sys.version.split()[0] + ")" if sys.version_info < (3, 11) else 0)'
	@echo "Setting up $(VENV): about two minutes, once (log: $(VENV)/install.log)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]' > $(VENV)/install.log 2>&1 \
	  || { tail -n 20 $(VENV)/install.log; exit 1; }
	@touch $@

setup: $(VENV)/.installed  ## a virtual environment with everything in it

demo: setup  ## tune a classifier on real images, end to end (about 5 minutes on 2 cores)
	@$(BIN)/kfp-image-tuning demo --output runs/demo

# Tests run in as many processes as there are processors, one thread in each; those of a file stay together.
JOBS ?= auto
PYTEST := -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
test test-fast coverage: export OMP_NUM_THREADS = 1

test: setup lint  ## lint and all tests (JOBS=1: in one process)
	@$(BIN)/python $(PYTEST)

test-fast: setup  ## the tests that take no more than a second or two each
	@$(BIN)/python $(PYTEST) -m "not slow"

# Apart from `make test`, since it takes two fifths more time. TESTS narrows it down.
coverage: setup  ## branch coverage of the package by all tests, subprocesses included (TESTS=tests/search for a part)
	@rm -rf .coverage && mkdir .coverage
	@$(BIN)/python -m coverage run $(PYTEST) $(TESTS)
	@$(BIN)/python -m coverage combine --quiet && $(BIN)/python -m coverage report

test-cluster: setup  ## the Katib engine on a real Kubernetes control plane (built once, 4 to 10 minutes), or on KUBECONFIG's
	@test -n "$$KUBECONFIG" || tests/cluster/build_control_plane.sh $(KUBERNETES_BIN)
	@KFP_IMAGE_TUNING_CLUSTER=1 $(BIN)/python -m pytest tests/cluster --timeout 180

test-e2e: setup  ## all pipelines on the cluster of KUBECONFIG, with KFP and Katib (python -m tests.e2e --help), or on stand-ins (7 to 10 minutes)
	@test -n "$$KUBECONFIG" || tests/cluster/build_control_plane.sh $(KUBERNETES_BIN)
	@$(BIN)/python -m tests.e2e

compile: setup  ## write pipelines/compiled and manifests/kubeflow
	@for engine in local katib sagemaker; do $(BIN)/kfp-image-tuning compile --engine $$engine --output pipelines/compiled/$$engine.yaml || exit 1; done
	@$(BIN)/python -m kfp_image_tuning.delivery.write_manifest manifests/kubeflow

generate: setup  ## write what is made from the code: options in components and pipelines, the components' README.md, docs/reference.md, JSON Schemas, katib/*.yaml
	@$(BIN)/python -m tools.faces
	@$(BIN)/python -m tools.component_readmes
	@$(BIN)/python -m tools.reference
	@$(BIN)/python -m tools.option_reference
	@$(BIN)/python -m tools.python_options
	@$(BIN)/python -m tools.katib_examples
	@$(BIN)/python -m tools.troubleshooting

dist: setup  ## wheel and sdist of the checked-out commit, the same bytes whenever they are built
	@$(BIN)/python -m tools.distributions dist

# One image for all steps and trials. BUILD_OPTIONS takes what the builder takes, such as --build-arg PYTHON_BASE=...
IMAGE ?= kfp-image-tuning:latest
VARIANT ?= cuda
BUILDER ?= $(firstword $(foreach tool,buildah docker podman,$(if $(shell command -v $(tool)),$(tool))))

image:  ## an image for compile --image (VARIANT=cuda or cpu; with buildah, docker or podman)
	@test -n "$(BUILDER)" || { echo "make image needs buildah, docker or podman, and none of them is installed"; exit 1; }
	$(BUILDER) build -f katib/Dockerfile --build-arg VARIANT=$(VARIANT) $(BUILD_OPTIONS) -t $(IMAGE) .

lint: setup  ## ruff, format check, type check, the catalogue's rules for components
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python -m mypy -p kfp_image_tuning
	@$(BIN)/python -m mypy tests benchmarks tools conftest.py
	@$(BIN)/python -m tools.check_catalogue

format: setup  ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

# A baseline that cannot be installed is left out, and the benchmark says so.
bench: setup  ## benchmarks: ratios against named baselines (about an hour; 54 minutes of it the search)
	-@$(MAKE) --no-print-directory .venv-mxnet/.installed
	-@$(MAKE) --no-print-directory .venv-ray/.installed
	@for benchmark in $(BENCHMARKS); do echo "== $$benchmark"; $(BIN)/python benchmarks/$$benchmark.py || exit 1; done

# MXNet's last release needs NumPy 1.23, which there is for Python 3.8 to 3.11 only; so it has an environment of its own.
PYTHON_MXNET ?= $(PYTHON)

.venv-mxnet/.installed:
	@$(PYTHON_MXNET) -c 'import sys; sys.exit("MXNet 1.9.1 runs on Python 3.8 to 3.11 only: make test-mxnet PYTHON_MXNET=/path/to/python3.11 (this is " + sys.version.split()[0] + ")" if not (3, 8) <= sys.version_info < (3, 12) else 0)'
	@echo "Setting up .venv-mxnet: about half a minute, once (log: .venv-mxnet/install.log)"
	@$(PYTHON_MXNET) -m venv .venv-mxnet
	@.venv-mxnet/bin/python -m pip install --quiet --disable-pip-version-check \
	  'mxnet==1.9.1' 'numpy<1.24' 'opencv-python-headless<4.9' > .venv-mxnet/install.log 2>&1 \
	  || { tail -n 20 .venv-mxnet/install.log; exit 1; }
	@touch $@

# Ray Tune, with which the search is compared, brings much along; so it has an environment of its own, too.
.venv-ray/.installed: setup.cfg constraints.txt
	@echo "Setting up .venv-ray: about two minutes, once (log: .venv-ray/install.log)"
	@test -x .venv-ray/bin/python || $(PYTHON) -m venv .venv-ray
	@.venv-ray/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  'ray[tune]>=2.40' -e '.[local,demo]' > .venv-ray/install.log 2>&1 \
	  || { tail -n 20 .venv-ray/install.log; exit 1; }
	@touch $@

test-mxnet: setup .venv-mxnet/.installed  ## the proof against Apache MXNet 1.9.1 itself
	@MXNET_PYTHON=$(CURDIR)/.venv-mxnet/bin/python OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/mxnet

# AWS's SDK takes 450 MB, so it is in no other environment.
.venv-sagemaker-sdk/.installed: setup.cfg
	@echo "Setting up .venv-sagemaker-sdk: about two minutes, once (log: .venv-sagemaker-sdk/install.log)"
	@$(PYTHON) -m venv .venv-sagemaker-sdk
	@.venv-sagemaker-sdk/bin/python -m pip install --quiet --disable-pip-version-check \
	  -e '.[sagemaker-sdk]' 'pytest>=9' 'pytest-timeout>=2.3' > .venv-sagemaker-sdk/install.log 2>&1 \
	  || { tail -n 20 .venv-sagemaker-sdk/install.log; exit 1; }
	@touch $@

test-sagemaker-sdk: .venv-sagemaker-sdk/.installed  ## the job as objects of the SageMaker SDK against what we send
	@.venv-sagemaker-sdk/bin/python -m pytest tests/sagemaker_sdk

clean:  ## remove environments and results
	rm -rf $(VENV) .venv-mxnet .venv-ray .venv-sagemaker-sdk .venv-components-* build dist runs *.egg-info .mypy_cache .ruff_cache .pytest_cache .coverage
