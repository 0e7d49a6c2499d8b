//! Where a long-running command says what happens: stderr, one line an event, as text or JSON.

use std::io::IsTerminal;

use tracing::warn;
use tracing_subscriber::EnvFilter;

/// For the help of the commands that log.
pub(crate) const HELP: &str = "Logs go to stderr. GENIE_LM_LOG sets the level: error, warn, info (default), debug \
or trace. GENIE_LM_LOG_FORMAT=json writes one JSON object a line.";

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Begins, as `HELP` says.
pub(crate) fn start() {
    let wish = std::env::var("GENIE_LM_LOG").unwrap_or_default();
    let known = level(&wish);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(known.unwrap_or("info")))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match std::env::var("GENIE_LM_LOG_FORMAT").as_deref() {
        Ok("json") => builder.json().try_init(),
        _ => builder.with_target(false).try_init(),
    };
    // Somebody else (a test) has begun already.
    drop(started);
    if known.is_none() {
        warn!("GENIE_LM_LOG={wish:?} is no level: give {}; logging at info", LEVELS.join(", "));
    }
}

/// The level of this name; info without one.
fn level(wish: &str) -> Option<&'static str> {
    let wish = if wish.is_empty() { "info" } else { wish };
    LEVELS.into_iter().find(|level| level.eq_ignore_ascii_case(wish))
}

#[cfg(test)]
mod tests {
    use super::level;

    #[test]
    fn a_level_is_one_of_five_words_and_info_where_none_is_given() {
        assert_eq!(level(""), Some("info"));
        assert_eq!(level("DEBUG"), Some("debug"));
        assert_eq!(level("bogus"), None);
        assert_eq!(level("info,h2=trace"), None);
    }
}
