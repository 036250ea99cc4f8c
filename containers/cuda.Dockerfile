# Trainings on NVIDIA A100 (sm_80). The torch wheel brings CUDA and NCCL; the driver is the host's.
#
#   podman-hpc build -f containers/cuda.Dockerfile -t cosmotron:cuda --build-arg COMMIT=$(git rev-parse HEAD) .
#   podman-hpc migrate cosmotron:cuda
#
# Compiled for sm_80 in the first stage: mamba-ssm's and causal-conv1d's kernels, DeepSpeed's
# fused_adam. The final image keeps gcc alone, for Triton. Without the host's plug-in for Slingshot
# NCCL silently falls back to TCP between nodes: sites/perlmutter.toml says how to bind the plug-in.
#
# What was tested, and what was not: docs/containers.md.
FROM docker.io/library/python:3.11-slim-bookworm@sha256:528257d48c1da0dcecc2e725d1ae34498d60c965f1241e39cd6a85a8859bdf84 AS base
ENV PATH=/opt/cosmotron/bin:$PATH PYTHONNOUSERSITE=1

# The CUDA that torch was built with (`torch.version.cuda`), to compile against.
FROM docker.io/nvidia/cuda:13.0.1-devel-ubuntu24.04@sha256:7d2f6a8c2071d911524f95061a0db363e24d27aa51ec831fcccf9e76eb72bc92 AS toolkit

FROM base AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
COPY --from=toolkit /usr/local/cuda-13.0 /usr/local/cuda-13.0
ENV CUDA_HOME=/usr/local/cuda-13.0 TORCH_CUDA_ARCH_LIST=8.0
WORKDIR /kernels
COPY constraints.txt ./
RUN python -m venv /opt/cosmotron \
    && pip install --no-cache-dir --constraint constraints.txt \
        einops ninja numpy packaging psutil py-cpuinfo pydantic setuptools torch tqdm transformers wheel
# The build has no GPU from which DeepSpeed could choose the operators.
RUN DS_ACCELERATOR=cuda DS_BUILD_FUSED_ADAM=1 pip install --no-cache-dir --constraint constraints.txt \
        --no-build-isolation --no-binary deepspeed deepspeed
# Their setup.py lists every architecture that nvcc knows. Their dependencies, tilelang and CUTLASS,
# are left out, because Mamba and Mamba2 do not need them.
RUN CAUSAL_CONV1D_SKIP_CUDA_BUILD=TRUE MAMBA_SKIP_CUDA_BUILD=TRUE \
        pip download --no-cache-dir --constraint constraints.txt --no-deps --no-build-isolation \
        --no-binary :all: causal-conv1d mamba-ssm \
    && for archive in *.tar.gz; do tar -xzf "$archive" && rm "$archive"; done \
    && sed -i 's/compute_[0-9]*,code=sm_[0-9]*/compute_80,code=sm_80/' ./*/setup.py \
    && CAUSAL_CONV1D_FORCE_BUILD=TRUE MAMBA_FORCE_BUILD=TRUE MAMBA_KEEP_CUDA_BUILD=TRUE \
        pip install --no-cache-dir --no-deps --no-build-isolation ./causal_conv1d-* ./mamba_ssm-*
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY pipeline pipeline
COPY jobs jobs
COPY sites sites
RUN pip install --no-cache-dir --constraint constraints.txt '.[data,report,training]' \
    && python -c 'import torch, causal_conv1d_cuda, selective_scan_cuda, deepspeed.ops.adam.fused_adam_op'

FROM base
# Triton compiles a stub for the driver when a training starts.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
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
