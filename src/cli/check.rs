//! `genie-lm check PATH…`: compiles manifests as the server would, and says everything that is wrong with them.

use std::{fs, path::PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::{Exit, Failure, Output};
use crate::{
    api::PlanGrant,
    compile::{
        Licensing,
        manifests::{CompiledManifests, CompiledPool, Problem, compile_all, load},
    },
    license::document::Place,
    vendor_keys,
};

/// Compile manifests offline: every error with its file and line, or what they grant. Exit code 1 with problems.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files, or directories with .yaml, .yml and .json files (not subfolders).
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// File of the vendors' public keys whose licenses count, each with its products (docs/licenses.md).
    #[arg(long, value_name = "FILE")]
    vendor_keys: Option<PathBuf>,
}

pub(crate) fn run(args: Args, output: Output) -> Result<Exit, Failure> {
    for path in &args.paths {
        fs::metadata(path).map_err(|error| {
            let path = path.display();
            Failure::configuration(format!(
                "cannot read {path}: {error}; give a file or directory of manifests"
            ))
        })?;
    }
    let trust = vendor_keys::read(args.vendor_keys.as_deref()).map_err(Failure::configuration)?;
    // Where they will count is not known here.
    let licensing =
        Licensing { trust: &trust, place: Place::Anywhere, now: Timestamp::now(), cluster_unknown: false };
    let mut compiled = compile_all(&load(&args.paths), &licensing, |_| None, |_| None);
    compiled.problems.append(&mut compiled.findings);
    compiled.problems.sort();
    let report = Report::of(&compiled);
    let problems = report.problems.iter().map(|problem| vec![problem.to_string()]).collect();
    let tables: Vec<_> =
        [problems, rows(&report)].into_iter().filter(|table: &Vec<_>| !table.is_empty()).collect();
    output.write_tables(&report, &tables)?;
    Ok(if report.problems.is_empty() { Exit::Success } else { Exit::Unexpected })
}

#[derive(Serialize)]
struct Report<'a> {
    problems: &'a [Problem],
    pools: Vec<Pool<'a>>,
    grants: Vec<Grant<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pool<'a> {
    namespace: &'a str,
    name: &'a str,
    product: &'a str,
    seats: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Grant<'a> {
    namespace: &'a str,
    name: &'a str,
    pool: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<&'a str>,
    features: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

impl<'a> Report<'a> {
    fn of(compiled: &'a CompiledManifests) -> Self {
        let mut report = Self { problems: &compiled.problems, pools: Vec::new(), grants: Vec::new() };
        for CompiledPool { name, compiled } in &compiled.pools {
            let Ok(plan) = &compiled.plan else { continue };
            report.pools.push(Pool {
                namespace: &name.namespace,
                name: &name.name,
                product: &plan.product,
                seats: plan.seats,
                expires: plan.validity.not_after.as_ref().map(|end| end.0.to_string()),
            });
            let grants = compiled.accepted();
            report
                .grants
                .extend(grants.map(|(grant, accepted)| Grant::of(&plan.pool, grant, accepted.expires)));
        }
        report
    }
}

impl<'a> Grant<'a> {
    fn of(pool: &'a str, grant: &'a PlanGrant, expires: Option<jiff::Timestamp>) -> Self {
        Self {
            namespace: &grant.namespace,
            name: &grant.name,
            pool,
            max: grant.max,
            tier: grant.tier.as_ref().map(|tier| tier.as_str()),
            features: grant.features.iter().map(|name| name.as_str()).collect(),
            expires: expires.map(|end| end.to_string()),
        }
    }
}

fn rows(report: &Report<'_>) -> Vec<Vec<String>> {
    if report.pools.is_empty() {
        return Vec::new();
    }
    let row = |cells: [&str; 7]| cells.map(str::to_owned).to_vec();
    let mut rows = vec![row(["KIND", "NAMESPACE", "NAME", "FROM", "SEATS", "TIER", "EXPIRES"])];
    for pool in &report.pools {
        let (seats, expires) = (pool.seats.to_string(), pool.expires.as_deref().unwrap_or("-"));
        rows.push(row(["LicensePool", pool.namespace, pool.name, pool.product, &seats, "-", expires]));
    }
    for grant in &report.grants {
        let seats = grant.max.map_or("all".to_owned(), |max| format!("max {max}"));
        let (tier, expires) = (grant.tier.unwrap_or("-"), grant.expires.as_deref().unwrap_or("-"));
        rows.push(row(["LicenseGrant", grant.namespace, grant.name, grant.pool, &seats, tier, expires]));
    }
    rows
}
