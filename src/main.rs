//! The binary `genie-lm`: everything is in `cli`.

fn main() -> std::process::ExitCode {
    genie_lm::cli::main()
}
