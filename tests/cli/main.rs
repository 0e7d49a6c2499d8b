//! The command line against the real server, as a user has it: processes, files, signals and exit codes.

mod check;
mod harness;
mod import;
mod install;
mod license;
mod licensed;
mod loss;
mod run;
mod serve;
mod time;
mod verdicts;
