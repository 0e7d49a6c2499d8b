//! genie-client
