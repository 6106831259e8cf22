# Three images of one file: `service` runs nova, sophia and aurora, `engine` the embedded speech and face servers,
# `triton` the embedded tritonserver. None holds a compiler, pip, or the tests; espeak-ng (GPL-3) is in `engine` alone.
# The tag of the base comes from .env, as all versions do.
ARG DEBIAN_TAG
FROM debian:${DEBIAN_TAG} AS base
SHELL ["/bin/sh", "-euc"]
# hadolint ignore=DL3008 # the base is pinned; an older patch of a package is taken off Debian's mirrors
RUN apt-get update; \
    apt-get install -y --no-install-recommends python3 libpython3.11; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*


FROM base AS build
# hadolint ignore=DL3008
RUN apt-get update; \
    apt-get install -y --no-install-recommends ca-certificates python3-venv
COPY requirements/uv.txt /requirements/
RUN python3 -m venv /uv; \
    /uv/bin/pip install --quiet --no-cache-dir --require-hashes -r /requirements/uv.txt
# Containers are read-only, so what Python would compile at its first start is compiled here.
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 UV_SYSTEM_CERTS=1

FROM build AS service-env
COPY requirements/service.txt /requirements/
RUN python3 -m venv --without-pip /opt/voxloop; \
    /uv/bin/uv pip install --quiet --require-hashes --no-deps --python /opt/voxloop/bin/python -r /requirements/service.txt

FROM service-env AS engine-env
COPY requirements/engine.txt /requirements/
RUN /uv/bin/uv pip install --quiet --require-hashes --no-deps --python /opt/voxloop/bin/python -r /requirements/engine.txt

FROM build AS triton-env
COPY requirements/triton.txt /requirements/
RUN python3 -m venv --without-pip /opt/triton; \
    /uv/bin/uv pip install --quiet --require-hashes --no-deps --python /opt/triton/bin/python -r /requirements/triton.txt

FROM base AS source
WORKDIR /app
COPY shared shared
COPY embedded embedded
COPY services services
COPY web web
COPY deploy/images/probe.py .
RUN python3 -m compileall -q .


FROM base AS app
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin voxloop; \
    install -d -o voxloop -g voxloop -m 0755 /tls /ca
WORKDIR /app
ENV PATH=/opt/voxloop/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 VOXLOOP_SECRETS=/run/secrets
LABEL org.opencontainers.image.title=Voxloop org.opencontainers.image.licenses=Apache-2.0

FROM app AS service
COPY --from=service-env /opt/voxloop /opt/voxloop
COPY --from=source /app/probe.py ./
COPY --from=source /app/shared shared
COPY --from=source /app/services services
COPY --from=source /app/web web
USER 10001:10001

FROM app AS engine
COPY --from=engine-env /opt/voxloop /opt/voxloop
COPY --from=source /app/probe.py ./
COPY --from=source /app/shared shared
COPY --from=source /app/embedded embedded
USER 10001:10001

FROM app AS triton
COPY --from=triton-env /opt/triton /opt/triton
COPY --from=service-env /opt/voxloop /opt/voxloop
COPY --from=source /app/probe.py ./
COPY --from=source /app/shared shared
COPY --from=source /app/embedded embedded
COPY models/nova models/nova
ENV VOXLOOP_TRITON_ENV=/opt/triton VOXLOOP_TRITON_CACHE=/tmp/triton VOXLOOP_TRITON_REPOSITORY=/tmp/models
USER 10001:10001
# The engine opens a GGUF file for writing, though it only reads it, so the model lies where that may be done.
CMD ["sh", "-c", "cp -r models /tmp/ && exec python -m embedded.triton"]
