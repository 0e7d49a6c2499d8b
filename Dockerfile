# The image of genie-lm for those with a container daemon: the same program and settings as tools/image/build.sh makes.
FROM rust:1.95-bookworm AS builder
# The crypto library asks for cmake on some machines; on x86_64 it does without.
RUN apt-get update && apt-get install -y --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# With the target named, the flag is for the program alone: build scripts and macros stay dynamic, as they must.
RUN target=$(rustc -vV | sed -n 's/^host: //p') \
    && RUSTFLAGS='-C target-feature=+crt-static' \
       cargo build --release --locked --target "$target" --bin genie-lm \
    && cp "target/$target/release/genie-lm" /genie-lm

FROM scratch
COPY --from=builder /genie-lm /bin/genie-lm
USER 65532:65532
ENTRYPOINT ["/bin/genie-lm"]
