# One image for every step of the pipelines and for Katib's trials: what `compile --image` and `--image` of a search take.
#
#   make image IMAGE=REGISTRY/kfp-image-tuning:VERSION                 with CUDA
#   make image IMAGE=REGISTRY/kfp-image-tuning:VERSION-cpu VARIANT=cpu
#
# Bases are pinned by digest, so that a build can be repeated. To move to newer ones, or to a mirror, give them as build
# arguments: --build-arg CUDA_BASE=... --build-arg PYTHON_BASE=...
ARG VARIANT=cuda
ARG CUDA_BASE=pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime@sha256:417bd75df6365104c283ea4c1651fb3530d9eb5a4c2fafa51943cff2a94e6385
ARG PYTHON_BASE=python:3.11-slim@sha256:9c900dea9e8fb7e16277c179b555cc72d29a352dbc33cff48ad5a0412fd5bfc7

FROM ${PYTHON_BASE} AS wheel
WORKDIR /source
COPY . .
RUN python3 -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

# PyTorch for the processor alone; PyPI's own build brings gigabytes of CUDA.
FROM ${PYTHON_BASE} AS cpu
ARG CPU_TORCH=torch
ARG CPU_TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --no-cache-dir --index-url "${CPU_TORCH_INDEX}" "${CPU_TORCH}"

FROM ${CUDA_BASE} AS cuda

FROM ${VARIANT}
COPY --from=wheel /wheels /wheels
# The base's PyTorch and NumPy satisfy our ranges and stay as they are. Newer PyTorch images have Ubuntu's Python, into
# which pip installs only when it is told to; an older pip does not know the variable, and need not.
RUN wheel=$(ls /wheels/*.whl) \
 && PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --no-cache-dir "${wheel}[all]" \
 && python3 -c 'import kfp.dsl, optuna, boto3, kubernetes, pyarrow, kfp_image_tuning.engines.katib.pod.trial, kfp_image_tuning.trainer.training' \
 && rm -rf /wheels
# No name in /etc/passwd belongs to this user, so its home must be said.
ENV HOME=/tmp PYTHONUNBUFFERED=1
USER 1000:1000
WORKDIR /tmp
# Steps and trials bring their own commands; this is for a try by hand.
CMD ["kfp-image-tuning", "--help"]
