# Trainings on NVIDIA GPUs. The torch wheel brings CUDA and NCCL; the driver is the host's.
#
#   podman-hpc build -f containers/cuda.Dockerfile -t cosmotron:cuda --build-arg COMMIT=$(git rev-parse HEAD) .
#   podman-hpc migrate cosmotron:cuda
#   srun … podman-hpc run --rm --gpu --nccl …    --nccl puts the Slingshot plug-in in and sets its variables
#
# Without the plug-in NCCL falls back to TCP between nodes and does not fail: look for the provider
# in the log under NCCL_DEBUG=INFO. The flags are those of podman-hpc's modules
# (https://github.com/NERSC/podman-hpc); with Shifter it is --module=gpu,nccl-plugin
# (https://github.com/NERSC/dl-at-scale-training).
#
# Not tried: neither a container engine nor a GPU was at hand when this was written. mamba-ssm's
# kernels are not in it (docs/containers.md); no operator is compiled when a training starts, so there
# is no compiler here.
FROM docker.io/library/python:3.11-slim-bookworm

ARG COMMIT=unknown
LABEL org.opencontainers.image.title="cosmotron" org.opencontainers.image.revision="$COMMIT"

WORKDIR /opt/cosmotron
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY pipeline pipeline
COPY jobs jobs
COPY sites sites
RUN pip install --no-cache-dir --constraint constraints.txt '.[data,report,training]' \
    && python -c 'import torch; assert torch.version.cuda, "this torch was built without CUDA"'

RUN useradd --uid 1000 cosmotron && install --directory --owner=cosmotron /data
USER 1000
WORKDIR /data
CMD ["cosmotron", "--help"]
