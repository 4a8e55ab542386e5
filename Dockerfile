# phasen on a CPU: docker build --tag phasen .
# then, in a folder with recordings (docs/install.md):
# docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/audio" phasen \
#     enhance interview.mp3
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
ENV PHASEN_WITHOUT_PESQ=1
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim
# An index of PyTorch's wheels for CPUs. Its other wheels bring gigabytes of
# libraries for GPUs.
ARG TORCH_INDEX=
# Versions are those that setup.py allows.
# hadolint ignore=DL3013
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir \
    ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
    "$(echo /wheels/*.whl)[media]" \
    && useradd --create-home --uid 1000 phasen
# Also writable for the user that docker run may name.
ENV HOME=/tmp
USER 1000
WORKDIR /audio
ENTRYPOINT ["phasen"]
CMD ["--help"]
