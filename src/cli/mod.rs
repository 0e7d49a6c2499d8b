//! The command line: one file a subcommand. This one owns what they share: the parser, the dispatch, the way out.
//!
//! A new subcommand is a file with `pub(crate) struct Args` (derives `clap::Args`; its doc comment is the help) and
//! `pub(crate) fn run(args: Args, output: Output) -> Result<Exit, Failure>`, and two lines here: its `mod`, and its
//! entry in `subcommands!`.

mod activate;
mod answer;
mod check;
mod checkout;
mod completions;
mod connection;
mod crds;
mod exit;
mod import;
mod install;
mod keys;
mod license;
mod logging;
mod openapi;
mod operator;
mod output;
mod run;
mod runtime;
mod serve;
mod signals;
mod status;
mod validate;
mod version;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use exit::{Exit, Failure};
pub use output::{Format, Output};

/// A license manager that lives in Kubernetes: pools and grants become servers on port 1453.
#[derive(Parser)]
#[command(name = "genie-lm", version, max_term_width = 110)]
#[command(after_long_help = exit::HELP)]
struct Cli {
    /// How answers are written: table for people, json or yaml for programs.
    #[arg(short, long, global = true, value_enum, default_value_t)]
    #[arg(hide_possible_values = true, display_order = 900, value_name = "FORMAT")]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

macro_rules! subcommands {
    ($($variant:ident => $module:ident,)*) => {
        #[derive(Subcommand)]
        enum Command {
            $($variant($module::Args),)*
        }

        impl Command {
            fn run(self, output: Output) -> Result<Exit, Failure> {
                match self {
                    $(Command::$variant(args) => $module::run(args, output),)*
                }
            }
        }
    };
}

// In the order of the help.
subcommands! {
    Serve => serve,
    Operator => operator,
    Status => status,
    Run => run,
    Checkout => checkout,
    Validate => validate,
    Activate => activate,
    Install => install,
    Check => check,
    Import => import,
    Crds => crds,
    Keys => keys,
    License => license,
    Openapi => openapi,
    Version => version,
    Completions => completions,
}

/// Runs the command line of this process and says how it ended.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error),
    };
    match cli.command.run(Output::new(cli.output)) {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_subcommand_is_answered_with_the_right_one() {
        let Err(error) = Cli::try_parse_from(["genie-lm", "instal"]) else { panic!("was accepted") };
        assert!(error.to_string().contains("install"), "{error}");
    }
}
