# Everything that needs no GPU: staging, evaluation, reports, and trainings on CPU.
#
#   podman build -f containers/cpu.Dockerfile -t cosmotron:cpu --build-arg COMMIT=$(git rev-parse HEAD) .
#   podman run --rm -v "$PWD/runs:/data/runs" cosmotron:cpu cosmotron run quickstart --site local
#
# What was tested, and what was not: docs/containers.md. tests/containers runs its steps.
FROM docker.io/library/python:3.11-slim-bookworm@sha256:528257d48c1da0dcecc2e725d1ae34498d60c965f1241e39cd6a85a8859bdf84 AS base
ENV PATH=/opt/cosmotron/bin:$PATH PYTHONNOUSERSITE=1

FROM base AS build
# PyTorch's own index has the pinned torch without several GB of CUDA libraries.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
COPY constraints.txt ./
RUN python -m venv /opt/cosmotron \
    && pip install --no-cache-dir --constraint constraints.txt --extra-index-url "$TORCH_INDEX" torch
COPY pyproject.toml README.md LICENSE ./
COPY pipeline pipeline
COPY jobs jobs
COPY sites sites
# DeepSpeed is a source distribution that compiles nothing at installation.
RUN pip install --no-cache-dir --constraint constraints.txt --only-binary pythia8mc '.[all]'

FROM base
COPY --from=build /opt/cosmotron /opt/cosmotron
RUN useradd --uid 1000 cosmotron && install --directory --owner=cosmotron /data
USER 1000
WORKDIR /data
# Caches of Numba, Triton and matplotlib, writable for any user.
ENV HOME=/tmp
# Last, so that a new commit rebuilds this layer only.
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="cosmotron" \
      org.opencontainers.image.licenses="BSD-3-Clause" \
      org.opencontainers.image.revision="$COMMIT"
