# Trainings on AMD MI250X (gfx90a). torch, ROCm and RCCL are the base image's: the torch 2.10 and ROCm
# 7.1.1 of Frontier's PyTorch guide (https://docs.olcf.ornl.gov/software/analytics/pytorch_frontier.html).
#
#   podman build -f containers/rocm.Dockerfile -t cosmotron:rocm --build-arg COMMIT=$(git rev-parse HEAD) .
#   podman save -o cosmotron-rocm.tar cosmotron:rocm
#   apptainer build cosmotron.sif docker-archive:cosmotron-rocm.tar
#
# Compiled for gfx90a in the first stage: mamba-ssm's and causal-conv1d's kernels, DeepSpeed's
# fused_adam. The base has ROCm's compilers as well: AMD publishes no image with torch without them.
# Between nodes RCCL needs the host's plug-in: sites/frontier.toml.
#
# Not tested at all: see docs/containers.md. The base is pinned by its tag; no digest could be verified.
FROM docker.io/rocm/pytorch:rocm7.1.1_ubuntu24.04_py3.12_pytorch_release_2.10.0 AS base
ENV PYTHONNOUSERSITE=1

FROM base AS build
ENV PYTORCH_ROCM_ARCH=gfx90a HIP_ARCHITECTURES=gfx90a
WORKDIR /kernels
COPY constraints.txt ./
# torch, triton and their dependencies come from the base.
RUN grep -v '^torch==' constraints.txt > without-torch.txt \
    && pip install --no-cache-dir --constraint without-torch.txt \
        ninja numpy packaging psutil py-cpuinfo pydantic setuptools tqdm wheel
# The build has no GPU from which DeepSpeed could choose the operators.
RUN DS_ACCELERATOR=cuda DS_BUILD_FUSED_ADAM=1 \
    CAUSAL_CONV1D_FORCE_BUILD=TRUE MAMBA_FORCE_BUILD=TRUE MAMBA_KEEP_CUDA_BUILD=TRUE \
    pip wheel --no-cache-dir --constraint without-torch.txt --no-deps --no-build-isolation \
        --no-binary :all: --wheel-dir wheels causal-conv1d deepspeed mamba-ssm

FROM base
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY pipeline pipeline
COPY jobs jobs
COPY sites sites
COPY --from=build /kernels/wheels wheels
RUN grep -v '^torch==' constraints.txt > without-torch.txt \
    && pip install --no-cache-dir --no-deps wheels/causal_conv1d-*.whl wheels/mamba_ssm-*.whl \
    && pip install --no-cache-dir --constraint without-torch.txt \
        wheels/deepspeed-*.whl einops transformers '.[data,report,training]' \
    && rm -r wheels \
    && python -c 'import torch; assert torch.version.hip, "the torch of the base image was replaced"' \
    && python -c 'import torch, causal_conv1d_cuda, selective_scan_cuda, deepspeed.ops.adam.fused_adam_op'
# The base image may have a user 1000 already.
RUN (id --name --user 1000 >/dev/null 2>&1 || useradd --uid 1000 cosmotron) \
    && install --directory --owner=1000 /data
USER 1000
WORKDIR /data
# Caches of Numba, Triton and matplotlib, writable for any user.
ENV HOME=/tmp
# Last, so that a new commit rebuilds this layer only.
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="cosmotron" \
      org.opencontainers.image.licenses="BSD-3-Clause" \
      org.opencontainers.image.revision="$COMMIT"
