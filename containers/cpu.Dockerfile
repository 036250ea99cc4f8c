# Everything but a GPU: staging, evaluation, reports, and trainings on CPU.
#
#   podman build -f containers/cpu.Dockerfile -t cosmotron:cpu --build-arg COMMIT=$(git rev-parse HEAD) .
#   podman run --rm -v "$PWD/runs:/data/runs" cosmotron:cpu cosmotron run quickstart --site local
#
# The pinned torch comes with several GB of CUDA libraries; with
# --build-arg PIP_EXTRA_INDEX_URL=<the address that pytorch.org/get-started names for CPU> it does not.
#
# Not tried: no container engine was at hand when this was written. The same versions install by the
# same command in a virtual environment on Debian 12 with Python 3.11 (`make demo`).
FROM docker.io/library/python:3.11-slim-bookworm

ARG COMMIT=unknown
ARG PIP_EXTRA_INDEX_URL
LABEL org.opencontainers.image.title="cosmotron" org.opencontainers.image.revision="$COMMIT"

WORKDIR /opt/cosmotron
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY pipeline pipeline
COPY jobs jobs
COPY sites sites
# DeepSpeed is a source distribution that compiles nothing at installation.
RUN pip install --no-cache-dir --constraint constraints.txt --only-binary pythia8mc '.[all]'

RUN useradd --uid 1000 cosmotron && install --directory --owner=cosmotron /data
USER 1000
WORKDIR /data
CMD ["cosmotron", "--help"]
