//! Compiles proto/ without protoc: descriptors by protox, messages and services by tonic, proto3 JSON by pbjson.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 3] = ["genie/v1/licensing.proto", "genie/v1/admin.proto", "genie/peer/v1/peer.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(FILES, [&root])?;
    let encoded = descriptors.encode_to_vec();
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin"), &encoded)?;

    let mut config = prost_build::Config::new();
    config.extern_path(".google.protobuf.Timestamp", "crate::Timestamp");
    config.extern_path(".google.protobuf.Duration", "::pbjson_types::Duration");
    tonic_prost_build::configure().compile_fds_with_config(descriptors, config)?;

    // JSON has every field, so that `"retryable": false` is there to be read.
    pbjson_build::Builder::new().register_descriptors(&encoded)?.emit_fields().build(&[".genie.v1"])?;
    Ok(())
}
