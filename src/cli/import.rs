//! `genie-lm import`: license files of other license managers as a pool and grants. Manifests go to stdout or a file,
//! what became of each line to stderr.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{Exit, Failure, Output, exit::warn};
use crate::import::{
    Choice, Finding, Import, Refused, Source, Use, flexnet, is_pool_name, is_product, lmstat, rlm,
};

/// Largest file; a vendor's largest is a tenth of it.
const MAX_FILE_BYTES: u64 = 8 << 20;
/// Most files of one import.
const MAX_FILES: usize = 256;
/// Lines of lmstat that are named as not understood.
const MAX_LINES_TOLD: usize = 100;

/// Turn license files of another license manager into a pool and grants. Exit code 1: not all could be carried over.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    from: From,
}

#[derive(clap::Subcommand)]
enum From {
    /// FlexNet license files; on stderr, what becomes of each line.
    Flexnet(Flexnet),
    /// RLM license files; on stderr, what becomes of each line.
    Rlm(Rlm),
    /// Use that `lmstat -a` or `rlmstat -a` shows, and the seats that it needs.
    Lmstat(Lmstat),
}

#[derive(clap::Args)]
struct Flexnet {
    /// License files, in the order of the license path; - is stdin.
    #[arg(required = true, value_name = "LICENSE")]
    files: Vec<PathBuf>,
    /// The vendor daemon's options file.
    #[arg(long, value_name = "FILE")]
    options: Option<PathBuf>,
    #[command(flatten)]
    into: Into,
}

#[derive(clap::Args)]
struct Rlm {
    /// License files; - is stdin.
    #[arg(required = true, value_name = "LICENSE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    into: Into,
}

#[derive(clap::Args)]
struct Lmstat {
    /// What lmstat wrote, of one run or of several one after another; - is stdin.
    #[arg(default_value = "-", value_name = "FILE")]
    file: PathBuf,
}

#[derive(clap::Args)]
struct Into {
    /// What clients will ask for, instead of a name made from the vendor's.
    #[arg(long, value_name = "NAME", value_parser = product)]
    product: Option<String>,
    /// Name of the LicensePool, instead of the product.
    #[arg(long, value_name = "NAME", value_parser = pool)]
    name: Option<String>,
    /// Write the manifests to this file instead of stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: Args, output: Output) -> Result<Exit, Failure> {
    let today = jiff::Zoned::now().date();
    match args.from {
        From::Flexnet(Flexnet { files, options, into }) => {
            let options = options.map(|path| source(&path)).transpose()?;
            written(flexnet(&sources(&files)?, options.as_ref(), &into.choice(), today), &into, output)
        }
        From::Rlm(Rlm { files, into }) => {
            written(rlm(&sources(&files)?, &into.choice(), today), &into, output)
        }
        From::Lmstat(Lmstat { file }) => used(&file, output),
    }
}

fn product(text: &str) -> Result<String, String> {
    let fits = is_product(text).then(|| text.to_owned());
    fits.ok_or_else(|| "a product has at most 63 of a-z, 0-9 and -, with no - at its ends".to_owned())
}

fn pool(text: &str) -> Result<String, String> {
    let fits = is_pool_name(text).then(|| text.to_owned());
    fits.ok_or_else(|| crate::api::sentences::POOL_NAME.to_owned())
}

impl Into {
    fn choice(&self) -> Choice {
        Choice { product: self.product.clone(), name: self.name.clone() }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    findings: &'a [Finding],
}

/// Tells what became of the lines, then writes the manifests.
fn written(import: Result<Import, Refused>, into: &Into, output: Output) -> Result<Exit, Failure> {
    let import = import.map_err(Failure::usage)?;
    let table = import.findings.iter().map(|finding| vec![finding.to_string()]).collect::<Vec<_>>();
    output.write_aside(&Report { findings: &import.findings }, &table)?;
    if import.is_empty() {
        return Err(Failure::configuration(
            "there is no license line that counts today: nothing was written.",
        ));
    }
    let yaml =
        import.yaml().map_err(|error| Failure::unexpected(format!("cannot write the manifests: {error}")))?;
    match &into.out {
        None => output.text(&yaml)?,
        Some(path) => fs::write(path, yaml).map_err(|error| {
            Failure::configuration(format!("cannot write {}: {error}. Give another file.", path.display()))
        })?,
    }
    Ok(if import.is_complete() { Exit::Success } else { Exit::Unexpected })
}

#[derive(Serialize)]
struct Used {
    features: Vec<Use>,
    pool: Sum,
}

/// What a pool for all features needs: as `import flexnet`, the sum.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sum {
    in_use: u64,
    suggested: u64,
}

fn used(file: &Path, output: Output) -> Result<Exit, Failure> {
    let (features, not_understood) = lmstat(&source(file)?.bytes);
    for line in not_understood.iter().take(MAX_LINES_TOLD) {
        warn(format!("{}:{line}: this line on use is not understood", file.display()));
    }
    if features.is_empty() {
        let message =
            format!("{} has no line on the use of a feature: give the output of lmstat -a.", file.display());
        return Err(Failure::configuration(message));
    }
    let sum = |of: fn(&Use) -> u64| features.iter().map(of).fold(0, u64::saturating_add);
    let pool = Sum { in_use: sum(|feature| feature.in_use), suggested: sum(|feature| feature.suggested) };
    let rows = used_rows(&features, &pool);
    output.write(&Used { features, pool }, &rows)?;
    Ok(if not_understood.is_empty() { Exit::Success } else { Exit::Unexpected })
}

fn used_rows(features: &[Use], pool: &Sum) -> Vec<Vec<String>> {
    let head = ["FEATURE", "ISSUED", "IN-USE", "QUEUED", "RESERVED", "USERS", "PEAK", "SUGGESTED"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for feature in features {
        let issued = feature.issued.map_or("uncounted".to_owned(), |issued| issued.to_string());
        let numbers = [feature.in_use, feature.queued, feature.reserved].map(|n| n.to_string());
        let [in_use, queued, reserved] = numbers;
        let (users, peak, suggested) = (feature.users.to_string(), feature.peak, feature.suggested);
        let (peak, suggested) = (peak.to_string(), suggested.to_string());
        let name: String = feature.feature.chars().filter(|c| !c.is_control()).collect();
        rows.push(vec![name, issued, in_use, queued, reserved, users, peak, suggested]);
    }
    let dash = || "-".to_owned();
    let (in_use, suggested) = (pool.in_use.to_string(), pool.suggested.to_string());
    rows.push(vec!["(pool)".to_owned(), dash(), in_use, dash(), dash(), dash(), dash(), suggested]);
    rows
}

fn sources(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    if paths.len() > MAX_FILES {
        return Err(Failure::usage(format!(
            "these are more than {MAX_FILES} files: import fewer at a time."
        )));
    }
    paths.iter().map(|path| source(path)).collect()
}

fn source(path: &Path) -> Result<Source, Failure> {
    let bytes = match path.to_str() {
        Some("-") => bounded(io::stdin().lock()),
        _ => File::open(path).and_then(bounded),
    };
    let bytes =
        bytes.map_err(|error| Failure::configuration(format!("cannot read {}: {error}", path.display())))?;
    Ok(Source { name: path.display().to_string().into(), bytes })
}

fn bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("it has more than {} MiB", MAX_FILE_BYTES >> 20)));
    }
    Ok(bytes)
}
