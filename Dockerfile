# syntax=docker/dockerfile:1
# closegate in a container: `docker build -t closegate .`
# `--build-arg CLOSEGATE_REVISION=$(git rev-parse --short=12 HEAD)` names the revision in `closegate_build_info`.

FROM rust:1.95-bookworm AS build
WORKDIR /build
# The kernel seeds aws-lc's generator, instead of 40 ms of CPU jitter (SECURITY.md says what that trades).
ENV AWS_LC_SYS_NO_JITTER_ENTROPY=1

# The dependencies alone, built against an empty crate: this layer lasts until the lock file changes.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
RUN mkdir src benches \
    && touch src/lib.rs \
    && echo 'fn main() {}' | tee src/main.rs > benches/gateway.rs \
    && cargo build --release --locked --bin closegate

COPY build.rs build.rs
COPY config config
COPY src src
# There is no repository here that could tell it.
ARG CLOSEGATE_REVISION
# Copied files keep their age, and cargo would take the empty crate for the newer one.
RUN touch build.rs src/lib.rs src/main.rs && cargo build --release --locked --bin closegate

FROM debian:bookworm-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /build/target/release/closegate /usr/local/bin/closegate
ENV CLOSEGATE__LISTEN__ADDRESS=0.0.0.0:8080 \
    CLOSEGATE__METRICS__ADDRESS=0.0.0.0:9464
USER 65532:65532
EXPOSE 8080 9464
# What `listen.shutdown_grace` allows takes longer than the 10 s after which `docker stop` kills: `--stop-timeout 30`.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 CMD ["closegate", "health"]
ENTRYPOINT ["closegate"]
