# syntax=docker/dockerfile:1
# closegate in a container: `docker build -t closegate .`
# `--build-arg CLOSEGATE_REVISION=$(git rev-parse --short=12 HEAD)` names the revision in `closegate_build_info`.
# `tests/container` builds this file where no registry of images can be reached, and runs what comes out.

FROM rust:1.95-slim-trixie AS build
WORKDIR /build
# The kernel seeds aws-lc's generator, instead of 40 ms of CPU jitter (SECURITY.md says what that trades).
ENV AWS_LC_SYS_NO_JITTER_ENTROPY=1

# The dependencies alone, built against an empty crate: this layer lasts until a manifest changes.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
RUN mkdir src benches \
    && touch src/lib.rs \
    && echo 'fn main() {}' > src/main.rs \
    && for bench in $(sed -n '/^\[\[bench\]\]$/{n;s/^name = "\(.*\)"$/\1/p}' Cargo.toml); do cp src/main.rs "benches/$bench.rs"; done \
    && cargo build --release --locked --bin closegate

COPY build.rs build.rs
COPY config config
COPY src src
# There is no repository here that could tell it.
ARG CLOSEGATE_REVISION
# Copied files keep their age, and cargo would take the empty crate for the newer one.
RUN touch build.rs src/lib.rs src/main.rs && cargo build --release --locked --bin closegate

# The whole of the final image: the program without debug information, the libraries it is linked with, the roots of
# certificate authorities, a user. glibc and not musl: it is what every test and figure of the project was made with. And
# linked dynamically: a static glibc would load its resolver at run time all the same, and fail without it; since 2.34
# files and DNS are in libc.so itself, so that what `ldd` lists is enough to resolve names.
RUN mkdir -p /image/etc/ssl/certs \
    && objcopy --strip-debug target/release/closegate /image/closegate \
    && ldd /image/closegate | grep -o '/[^ ]*' | xargs cp --dereference --parents --target-directory=/image \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && echo 'hosts: files dns' > /image/etc/nsswitch.conf \
    && echo 'closegate:x:65532:65532:closegate:/:/closegate' > /image/etc/passwd \
    && echo 'closegate:x:65532:' > /image/etc/group

FROM scratch
ARG CLOSEGATE_REVISION
LABEL org.opencontainers.image.title="closegate" \
      org.opencontainers.image.description="A credential gateway for the Close CRM API" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${CLOSEGATE_REVISION}"
COPY --from=build /image /
ENV CLOSEGATE__LISTEN__ADDRESS=0.0.0.0:8080 \
    CLOSEGATE__METRICS__ADDRESS=0.0.0.0:9464
USER 65532:65532
EXPOSE 8080 9464
# What `listen.shutdown_grace` allows takes longer than the 10 s after which `docker stop` kills: `--stop-timeout 40`.
STOPSIGNAL SIGTERM
# Asks the admin listener, 127.0.0.1:8081 inside the container.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 CMD ["/closegate", "health"]
ENTRYPOINT ["/closegate"]
