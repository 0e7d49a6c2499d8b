//! The wire contract of port 1453, generated from `proto/`: gRPC messages and services, and their proto3 JSON
//! form (camelCase, fields with default values written, enum values as in the proto file).
#![allow(missing_docs, clippy::all, unreachable_pub)]

mod time;

pub use time::Timestamp;

mod genie {
    pub mod v1 {
        tonic::include_proto!("genie.v1");
        include!(concat!(env!("OUT_DIR"), "/genie.v1.serde.rs"));
    }
    pub mod peer {
        pub mod v1 {
            tonic::include_proto!("genie.peer.v1");
        }
    }
}

/// Between replicas of one server.
pub use genie::peer::v1 as peer;
/// The public contract.
pub use genie::v1;

/// The encoded `FileDescriptorSet` of everything above, for reflection and for generators.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
