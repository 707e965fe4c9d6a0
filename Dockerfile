# Two images: `broker` (Mosquitto with this project's access rules) and `app` (the
# `sparkplug-zerobus` command). Plain Dockerfile syntax, so that the classic builder
# works as well as BuildKit. Where no registry can be reached, scripts/base-images.sh
# makes stand-ins for the two base images from Debian's packages.
ARG PYTHON_IMAGE=python:3.11-slim
ARG MOSQUITTO_IMAGE=eclipse-mosquitto:2


FROM ${MOSQUITTO_IMAGE} AS broker
COPY mosquitto/mosquitto.conf mosquitto/acl mosquitto/credentials.sh /mosquitto/config/
# Mosquitto wants its access rules unreadable for others. 1883 is the user id of the
# public image; the number works in images that have no such user, too.
RUN chown -R 1883:1883 /mosquitto/config \
    && chmod 0500 /mosquitto/config \
    && chmod 0400 /mosquitto/config/*
USER 1883:1883
EXPOSE 8883
CMD ["mosquitto", "-c", "/mosquitto/config/mosquitto.conf"]


# Hundreds of megabytes that change with the lock file only: a layer of their own,
# copied whole into the final image, where code changes do not touch it.
FROM ${PYTHON_IMAGE} AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/sparkplug-zerobus
COPY requirements/runtime.lock /build/runtime.lock
RUN /opt/sparkplug-zerobus/bin/pip install --require-hashes -r /build/runtime.lock


FROM ${PYTHON_IMAGE} AS wheel
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/build
COPY docker/build.lock /build/build.lock
RUN /opt/build/bin/pip install --require-hashes -r /build/build.lock
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY sparkplug sparkplug
COPY consumer consumer
COPY zerobus_local zerobus_local
RUN /opt/build/bin/python -m hatchling build -t wheel -d /wheel


FROM ${PYTHON_IMAGE} AS app
ENV PATH=/opt/sparkplug-zerobus/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=dependencies /opt/sparkplug-zerobus /opt/sparkplug-zerobus
COPY --from=wheel /wheel /wheel
COPY mosquitto/certificates.sh /usr/local/share/sparkplug-zerobus/certificates.sh
# --no-deps --no-index: everything that the wheel needs came out of the lock file.
RUN pip install --no-cache-dir --no-deps --no-index /wheel/*.whl \
    && pip check \
    && rm -r /wheel \
    && mkdir -p /var/lib/sparkplug-zerobus /var/lib/zerobus \
    && chown 10001:10001 /var/lib/sparkplug-zerobus /var/lib/zerobus
# A volume mounted here takes over the owner, so that the user below may write to it.
WORKDIR /var/lib/sparkplug-zerobus
USER 10001:10001
ENTRYPOINT ["sparkplug-zerobus"]
CMD ["--help"]
