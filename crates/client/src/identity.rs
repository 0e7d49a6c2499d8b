//! Who asks, for people who look at the sessions.

use genie_proto::v1;
use rustix::system::uname;

/// The wire's limit on each text.
const MAX: usize = 128;

/// This process: its user, host, process id and program name, and the given version of the application.
pub fn identity(version: &str) -> v1::Client {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_default();
    let program = std::env::args_os().next().map(std::path::PathBuf::from).unwrap_or_default();
    let program = program.file_name().unwrap_or_default().to_string_lossy();
    v1::Client {
        user: clip(&user),
        host: clip(&uname().nodename().to_string_lossy()),
        pid: std::process::id(),
        application: clip(&program),
        version: clip(version),
    }
}

/// The longest beginning that the wire allows.
fn clip(text: &str) -> String {
    text[..text.floor_char_boundary(MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(clip(&"é".repeat(100)), "é".repeat(64));
        assert_eq!(clip(&format!("a{}", "é".repeat(100))).len(), 127);
        assert_eq!(clip("short"), "short");
    }
}
