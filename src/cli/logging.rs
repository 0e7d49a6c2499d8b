//! Where a long-running command says what happens: stderr, one line an event, as text or JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Begins. `GENIE_LM_LOG` sets the level (error, warn, info, debug), `GENIE_LM_LOG_FORMAT=json` the form.
pub(crate) fn start() {
    let level = std::env::var("GENIE_LM_LOG").ok().filter(|level| !level.is_empty());
    let filter = EnvFilter::builder()
        .parse(level.as_deref().unwrap_or("info"))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match std::env::var("GENIE_LM_LOG_FORMAT").as_deref() {
        Ok("json") => builder.json().try_init(),
        _ => builder.with_target(false).try_init(),
    };
    // Somebody else (a test) has begun already.
    drop(started);
}
