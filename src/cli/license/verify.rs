//! `genie-lm license verify`: whether licenses are good, now and here, and what they allow in sum.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    files,
    rows::{self, Table, cell, table},
};
use crate::{
    cli::{Exit, Failure, Output},
    license::document::{
        Document, Event, FeatureTerms, License, MAX_DOCUMENT, MAX_LICENSES, Place, PublicKey, State, Terms,
        TierTerms, Verified, moment, states, terms,
    },
};

/// Check licenses: signature, time and place; show what they allow in sum, and what ends when.
///
/// Exit code 0: all files are good, and something of each product counts. 3: a file is refused, is bound to another
/// place, or nothing of a product counts yet. 4: all licenses of a product have ended.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Public key of a vendor whose licenses count, as PEM or JWK; may be repeated.
    #[arg(long = "vendor-key", value_name = "FILE", required = true)]
    vendor_keys: Vec<PathBuf>,
    /// UID of the namespace kube-system of the cluster where they are to count.
    #[arg(long, value_name = "UID")]
    cluster: Option<String>,
    /// They are to count on this machine, or on the one with this fingerprint.
    #[arg(long, value_name = "FINGERPRINT", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    host: Option<String>,
    /// Look at another moment, such as 2027-12-31T00:00:00Z [default: now].
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Timestamp>,
    /// License documents, 64 at most; - for stdin.
    #[arg(required = true, value_name = "FILE", num_args = 1..=MAX_LICENSES)]
    files: Vec<PathBuf>,
}

pub(super) fn run(args: Args, output: Output) -> Result<Exit, Failure> {
    let host = args.host.map(super::host).transpose()?;
    let place = match (args.cluster.as_deref(), host.as_deref()) {
        (None, None) => Place::Anywhere,
        (cluster, host) => Place::Here { cluster, host },
    };
    let now = args.at.unwrap_or_else(Timestamp::now);
    let keys = args.vendor_keys.iter().map(|path| files::public_key(path)).collect::<Result<Vec<_>, _>>()?;
    let read: Vec<_> = args.files.iter().map(|path| read(path, &keys)).collect::<Result<_, _>>()?;
    let report = Report::of(&args.files, read, now, place);
    output.write_tables(&report, &report.tables())?;
    Ok(report.exit())
}

/// A license that its vendor signed, or why it is refused. A file that cannot be read is a failure.
fn read(path: &Path, keys: &[PublicKey]) -> Result<Result<Verified, String>, Failure> {
    let text = files::read(path, MAX_DOCUMENT)?;
    let verified = Document::parse(&text).and_then(|document| document.verify(keys));
    Ok(verified.map_err(|error| error.to_string()))
}

#[derive(Serialize)]
struct Report {
    time: Timestamp,
    files: Vec<Entry>,
    products: Vec<Product>,
}

#[derive(Serialize)]
struct Entry {
    file: String,
    /// Absent: refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<License>,
}

#[derive(Serialize)]
struct Product {
    product: String,
    terms: Terms,
}

impl Report {
    fn of(
        paths: &[PathBuf],
        read: Vec<Result<Verified, String>>,
        now: Timestamp,
        place: Place<'_>,
    ) -> Report {
        let verified: Vec<Verified> = read.iter().filter_map(|found| found.as_ref().ok().cloned()).collect();
        let mut states = states(&verified, now, place).into_iter();
        let entry = |(path, found): (&PathBuf, Result<Verified, String>)| {
            let file = path.display().to_string();
            match found {
                Err(message) => Entry { file, state: None, message, claims: None },
                Ok(verified) => {
                    let license = verified.license().clone();
                    let state = states.next();
                    let message = state.map(|state| message(&license, state, place)).unwrap_or_default();
                    Entry { file, state, message, claims: Some(license) }
                }
            }
        };
        let files = paths.iter().zip(read).map(entry).collect();
        let products: BTreeSet<&str> = verified.iter().map(|v| v.license().product.as_str()).collect();
        let product = |product: &str| Product {
            product: product.to_owned(),
            terms: terms(product, &verified, now, place),
        };
        Report { time: now, files, products: products.into_iter().map(product).collect() }
    }

    fn exit(&self) -> Exit {
        let refused = |entry: &Entry| matches!(entry.state, None | Some(State::Elsewhere));
        let nothing: Vec<&Terms> = self.products.iter().map(|p| &p.terms).filter(|t| t.seats == 0).collect();
        if self.files.iter().any(refused) || nothing.iter().any(|terms| !terms.changes.is_empty()) {
            return Exit::Denied;
        }
        if nothing.is_empty() { Exit::Success } else { Exit::Expired }
    }

    fn tables(&self) -> Vec<Table> {
        let entry = |entry: &Entry| {
            let claims = entry.claims.as_ref();
            [
                entry.file.clone(),
                entry.state.map_or("REFUSED", State::word).to_owned(),
                cell(claims.map(|license| &license.id)),
                cell(claims.map(|license| &license.product)),
                cell(claims.map(|license| license.seats)),
                entry.message.clone(),
            ]
        };
        let head = ["FILE", "STATE", "LICENSE", "PRODUCT", "SEATS", "MESSAGE"];
        let mut tables = vec![table(head, self.files.iter().map(entry))];
        let rows = |of: fn(&Terms) -> Vec<[String; 3]>| {
            let of_product = |p: &Product| {
                let name = |[a, b, c]: [String; 3]| [p.product.clone(), a, b, c];
                of(&p.terms).into_iter().map(name).collect::<Vec<_>>()
            };
            self.products.iter().flat_map(of_product).collect::<Vec<_>>()
        };
        for (head, rows) in [
            (["PRODUCT", "SEATS", "OVERDRAFT", "BORROW"], rows(sums)),
            (["PRODUCT", "FEATURE", "UP-TO", "SEATS"], rows(features)),
            (["PRODUCT", "TIER", "FEATURES", "SEATS"], rows(tiers)),
            (["PRODUCT", "WHEN", "LICENSE", "WHAT"], rows(changes)),
        ] {
            if !rows.is_empty() {
                tables.push(table(head, rows));
            }
        }
        tables
    }
}

fn sums(terms: &Terms) -> Vec<[String; 3]> {
    let borrow = terms.borrow.iter().map(|b| format!("{} for {}", b.max_seats, b.max_duration));
    let borrow = borrow.collect::<Vec<_>>().join(", ");
    vec![[terms.seats.to_string(), terms.overdraft.to_string(), borrow]]
}

fn features(terms: &Terms) -> Vec<[String; 3]> {
    let row = |f: &FeatureTerms| {
        [f.name.clone(), f.version.as_ref().map_or("all".into(), ToString::to_string), f.seats.to_string()]
    };
    terms.features.iter().map(row).collect()
}

fn tiers(terms: &Terms) -> Vec<[String; 3]> {
    let names = |t: &TierTerms| t.features.iter().cloned().collect::<Vec<_>>().join(",");
    terms.tiers.iter().map(|t| [t.name.clone(), names(t), t.seats.to_string()]).collect()
}

fn changes(terms: &Terms) -> Vec<[String; 3]> {
    let what = |event: &Event| match event {
        Event::Begins => "begins".to_owned(),
        Event::GraceBegins => "ends; its grace period begins".to_owned(),
        Event::Ends => "counts no more".to_owned(),
        Event::Replaced => "is replaced by a newer one of its id".to_owned(),
        Event::FeatureEnds(name) => format!("feature {name} ends"),
    };
    terms.changes.iter().map(|c| [c.at.to_string(), c.license.clone(), what(&c.event)]).collect()
}

/// What a state means for a license, and what to do about it.
fn message(license: &License, state: State, place: Place<'_>) -> String {
    let (end, over) = (rows::end(license.not_after), rows::end(license.over_at()));
    match (state, &license.binding) {
        (State::Valid, Some(binding)) if place == Place::Anywhere => {
            format!("ends: {end}; bound to {binding}, which --cluster or --host checks")
        }
        (State::Valid, _) => format!("ends: {end}"),
        (State::Grace, _) => format!("ended on {end}, and counts until {over}: renew it"),
        (State::NotYetValid, _) => format!("begins on {}", license.not_before),
        (State::Expired, _) => format!("ended on {end}: ask for a renewal"),
        (State::Elsewhere, binding) => format!("does not count here: bound to {}", cell(binding.as_ref())),
        (State::Replaced, _) => "a newer one of its id is here, too".to_owned(),
    }
}
