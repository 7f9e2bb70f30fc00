# docker build -t darkroom .
# docker run --gpus all -p 7860:7860 -v /my/darkroom:/data darkroom [flags]
# /data holds models, options and pictures, laid out as an AUTOMATIC1111 user has them; the user of the
# container, 10001, must be able to write there. A build for a host without a GPU:
# --build-arg BASE=ubuntu:24.04 --build-arg TORCH_INDEX_URL=(an index of CPU builds). Without faces, rembg and
# upscaler files: --build-arg EXTRAS=. As another user or with --read-only, rembg's compiled parts cannot be kept
# where they were made: add -e NUMBA_CACHE_DIR=/data/cache/numba.
ARG BASE=nvidia/cuda:13.0.1-runtime-ubuntu24.04
FROM ${BASE}

# libgl1 and libglib2.0-0 are opencv's, libgomp1 is numba's
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv libgl1 libglib2.0-0 libgomp1 \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 10001 darkroom \
    && mkdir -p /app /data \
    && chown darkroom:darkroom /app /data
USER darkroom
WORKDIR /app

# the dependencies before the code, so that a change of code does not install them again
ARG TORCH_INDEX_URL=
ARG EXTRAS=face,upscalers
COPY --chown=darkroom:darkroom pyproject.toml README.md LICENSE launch.sh ./
RUN ./launch.sh install && rm -rf /home/darkroom/.cache

COPY --chown=darkroom:darkroom server server
COPY --chown=darkroom:darkroom pipelines pipelines
COPY --chown=darkroom:darkroom extensions extensions
COPY --chown=darkroom:darkroom models models

ENV PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD \
    ["/app/.venv/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/internal/ping', timeout=4)"]
ENTRYPOINT ["/app/.venv/bin/python", "-m", "server", "--listen", "--port", "7860", "--data-dir", "/data"]
