//! The tokio runtimes of the subcommands: one thread for a client, many for a server or an operator.

use std::future::Future;

use tokio::runtime::Builder;

use super::Failure;

/// Runs a client's work on this thread.
pub(crate) fn one_thread<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    on(Builder::new_current_thread(), work)
}

/// Runs a server's work on all cores.
#[allow(dead_code)] // used as soon as `serve` and `operator` are there
pub(crate) fn many_threads<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    on(Builder::new_multi_thread(), work)
}

fn on<T>(mut builder: Builder, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = builder.enable_all().build().map_err(|e| {
        Failure::unexpected(format!("cannot start the runtime: {e}; are threads or files exhausted?"))
    })?;
    let result = runtime.block_on(work);
    // A name lookup that hangs in a blocking thread must not keep the process.
    runtime.shutdown_background();
    result
}
