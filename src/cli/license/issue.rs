//! `genie-lm license issue`: a vendor signs a license.

use std::path::PathBuf;

use jiff::Timestamp;

use super::files;
use crate::{
    api::ApiDuration,
    cli::{Exit, Failure, Output},
    license::document::{
        Binding, Feature, MAX_DOCUMENT, MAX_SPEC, Overdraft, Problem, Request, Spec, moment, sign,
    },
};

/// Sign a license, as a spec, flags and a customer's request say. A flag overrules the spec; the request must
/// agree with both.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The vendor's private key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// What the license says, in YAML or JSON; - for stdin.
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// The customer's request; - for stdin.
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// Write the license to this new file [default: stdout].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

/// The fields of a spec that are short enough for a command line.
#[derive(clap::Args)]
#[command(next_help_heading = "In place of the spec")]
struct Flags {
    /// Who sells.
    #[arg(long, value_name = "NAME")]
    vendor: Option<String>,
    /// Who bought.
    #[arg(long, value_name = "NAME")]
    customer: Option<String>,
    /// Name of the license; that of an older license to replace it [default: a new one].
    #[arg(long)]
    id: Option<String>,
    /// What clients ask for.
    #[arg(long, value_name = "NAME")]
    product: Option<String>,
    /// Sessions at one time.
    #[arg(long, value_name = "N")]
    seats: Option<u32>,
    /// A feature with as many seats; may be repeated. One with limits of its own goes into a spec, as tiers do.
    #[arg(long = "feature", value_name = "NAME")]
    features: Vec<String>,
    /// First moment at which it counts [default: now].
    #[arg(long, value_name = "TIME", value_parser = moment)]
    not_before: Option<Timestamp>,
    /// Moment at which it ends, such as 2027-12-31T00:00:00Z [default: never].
    #[arg(long, value_name = "TIME", value_parser = moment)]
    not_after: Option<Timestamp>,
    /// How long it still works after its end, such as 720h.
    #[arg(long, value_name = "DURATION")]
    grace_period: Option<ApiDuration>,
    /// Seats over the limit: a number, or a share such as 10%.
    #[arg(long, value_name = "N|N%")]
    overdraft: Option<Overdraft>,
    /// UID of the namespace kube-system: the license counts in that cluster only.
    #[arg(long, value_name = "UID", conflicts_with = "hosts")]
    cluster: Option<String>,
    /// Fingerprint of a machine: the license counts on those only; may be repeated.
    #[arg(long = "host", value_name = "FINGERPRINT")]
    hosts: Vec<String>,
}

pub(super) fn run(args: Args, output: Output) -> Result<Exit, Failure> {
    let key = files::signing_key(&args.key)?;
    let mut spec = match &args.spec {
        Some(path) => Spec::parse(&files::read(path, MAX_SPEC)?).map_err(|error| files::bad(path, error))?,
        None => Spec::default(),
    };
    args.flags.overrule(&mut spec);
    if let Some(path) = &args.request {
        let request = Request::parse(&files::read(path, MAX_DOCUMENT)?);
        let request = request.map_err(|error| files::bad(path, error))?;
        let problems = spec.complete(&request);
        if !problems.is_empty() {
            return Err(refused(&problems));
        }
    }
    let new_id = || uuid::Uuid::new_v4().to_string();
    let license = spec.license(Timestamp::now(), new_id).map_err(|problems| refused(&problems))?;
    let document = sign(&license, &key).map_err(Failure::configuration)?;
    super::give(&document, args.out, &format!("license {}", license.id), output)
}

impl Flags {
    fn overrule(self, spec: &mut Spec) {
        given(self.vendor, &mut spec.vendor);
        given(self.customer, &mut spec.customer);
        given(self.id, &mut spec.id);
        given(self.product, &mut spec.product);
        given(self.seats, &mut spec.seats);
        given(self.not_before, &mut spec.validity.not_before);
        given(self.not_after, &mut spec.validity.not_after);
        given(self.grace_period, &mut spec.validity.grace_period);
        given(self.overdraft, &mut spec.overdraft);
        given(self.cluster.map(Binding::Cluster), &mut spec.binding);
        given(Some(self.hosts).filter(|hosts| !hosts.is_empty()).map(Binding::Hosts), &mut spec.binding);
        let feature = |name| Feature { name, version: None, seats: None, not_after: None };
        if !self.features.is_empty() {
            spec.features = self.features.into_iter().map(feature).collect();
        }
    }
}

fn given<T>(flag: Option<T>, field: &mut Option<T>) {
    if flag.is_some() {
        *field = flag;
    }
}

/// All problems, one a line.
fn refused(problems: &[Problem]) -> Failure {
    let lines: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
    Failure::configuration(format!("nothing was signed, because\n{}", lines.join("\n")))
}
