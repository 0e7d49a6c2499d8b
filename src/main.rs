//! Argument parsing and dispatch only.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
