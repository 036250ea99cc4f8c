# Trainings on AMD GPUs. torch, ROCm and RCCL are the base image's, so torch's pin is left out.
#
#   podman build -f containers/rocm.Dockerfile -t cosmotron:rocm --build-arg BASE=… --build-arg COMMIT=$(git rev-parse HEAD) .
#
# BASE: take a tag of https://hub.docker.com/r/rocm/pytorch whose ROCm is that of the machine.
# Frontier's PyTorch guide has torch 2.10.0 on ROCm 7.1
# (https://docs.olcf.ornl.gov/software/analytics/pytorch_frontier.html) and Apptainer 1.3.6
# (https://docs.olcf.ornl.gov/software/containers_on_frontier.html): `apptainer build cosmotron.sif
# docker-archive:cosmotron-rocm.tar`. Between nodes RCCL needs the site's rccl-net-plugin, which is
# not in the image.
#
# Not tried: neither a container engine nor a GPU was at hand when this was written. Frontier's documented way, a virtual environment on its modules,
# is what sites/frontier.toml is written for.
ARG BASE=docker.io/rocm/pytorch:latest
FROM ${BASE}

ARG COMMIT=unknown
LABEL org.opencontainers.image.title="cosmotron" org.opencontainers.image.revision="$COMMIT"

WORKDIR /opt/cosmotron
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY pipeline pipeline
COPY jobs jobs
COPY sites sites
RUN grep -v '^torch==' constraints.txt > without-torch.txt \
    && pip install --no-cache-dir --constraint without-torch.txt '.[data,report,training]' \
    && python -c 'import torch; assert torch.version.hip, "the torch of the base image was replaced"'

# The base image may have a user 1000 already.
RUN (id --name --user 1000 >/dev/null 2>&1 || useradd --uid 1000 cosmotron) && \
    install --directory --owner=1000 /data
USER 1000
WORKDIR /data
CMD ["cosmotron", "--help"]
