//! License and options files of other license managers → a pool and grants, and of each line what becomes of it. Pure:
//! text in, manifests and findings out. `carry` says what can be carried over, `effective` which lines count.

mod carry;
mod date;
mod effective;
mod finding;
mod flexnet;
mod lmstat;
mod model;
mod names;
mod options;
mod pool;
mod reader;
mod rlm;
mod terms;
#[cfg(test)]
mod tests;
mod text;
mod yaml;

use std::{collections::BTreeSet, sync::Arc};

use jiff::civil::Date;

pub use finding::{At, Finding};
pub use lmstat::{Use, lmstat};

use carry::Fate;
use effective::Offer;
use finding::{Findings, shown};
use model::{License, Licenses, Rule};
use names::{LABEL, Names, label, pool_name};
use pool::Imported;
use reader::Format;

/// Vendor daemons of one import; a site has a dozen.
const MAX_POOLS: usize = 100;

/// A file as it was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// As the user named it.
    pub name: Arc<str>,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// What the user chose.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// What clients ask for; absent: named after the vendor daemon.
    pub product: Option<String>,
    /// Name of the LicensePool; absent: that of the product.
    pub name: Option<String>,
}

/// Whether a LicensePool's product can be this.
pub fn is_product(text: &str) -> bool {
    !text.is_empty() && label(text, LABEL) == text
}

/// Whether a LicensePool can have this name.
pub fn is_pool_name(text: &str) -> bool {
    !text.is_empty() && pool_name(text) == text
}

/// Why nothing can be written.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// `--product` or `--name` for several pools.
    #[error(
        "--product and --name are for one vendor daemon, and the files have several: {0}. Import their files one by one."
    )]
    SeveralVendors(String),
}

/// What became of the files.
#[derive(Debug)]
pub struct Import {
    pools: Vec<Imported>,
    /// In order of the files and their lines.
    pub findings: Vec<Finding>,
}

impl Import {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    /// Whether the manifests say all that the files say.
    pub fn is_complete(&self) -> bool {
        self.findings.iter().all(|finding| finding.carried_over)
    }

    /// The manifests.
    pub fn yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        yaml::documents(&self.pools)
    }
}

/// FlexNet license files, in the order of the license path, and an options file.
pub fn flexnet(
    files: &[Source],
    options: Option<&Source>,
    choice: &Choice,
    today: Date,
) -> Result<Import, Refused> {
    import(files, &flexnet::FORMAT, options, choice, today)
}

/// RLM license files.
pub fn rlm(files: &[Source], choice: &Choice, today: Date) -> Result<Import, Refused> {
    import(files, &rlm::FORMAT, None, choice, today)
}

fn import(
    files: &[Source],
    format: &Format,
    options: Option<&Source>,
    choice: &Choice,
    today: Date,
) -> Result<Import, Refused> {
    let (mut licenses, mut findings) = (Licenses::default(), Findings::default());
    for file in files {
        reader::read(&file.name, &text::decode(&file.bytes), format, &mut licenses, &mut findings);
    }
    let rules = options.map(|file| options::read(&file.name, &text::decode(&file.bytes), &mut findings));
    let pools = manifests(&mut licenses, &rules.unwrap_or_default(), choice, today, &mut findings)?;
    let names: Vec<Arc<str>> = files.iter().chain(options).map(|file| file.name.clone()).collect();
    Ok(Import { pools, findings: findings.finish(&names) })
}

fn manifests(
    licenses: &mut Licenses,
    rules: &[Rule],
    choice: &Choice,
    today: Date,
    findings: &mut Findings,
) -> Result<Vec<Imported>, Refused> {
    effective::in_force(licenses, today, findings);
    let offers = effective::offers(licenses, information, findings);
    if offers.len() > 1 && (choice.product.is_some() || choice.name.is_some()) {
        let vendors: Vec<String> = offers.iter().map(|offer| shown(&offer.vendor)).collect();
        return Err(Refused::SeveralVendors(vendors.join(", ")));
    }
    lines(licenses, findings);
    policies(rules, licenses, findings);
    for offer in offers.iter().skip(MAX_POOLS) {
        let Some(part) = offer.features.first().and_then(|feature| feature.parts.first()) else { continue };
        let message = format!("{}: there are more than {MAX_POOLS} vendor daemons", shown(&offer.vendor));
        findings.lost(&part.at, message, "import its lines from a file of their own");
    }
    let offers = &offers[..offers.len().min(MAX_POOLS)];
    let (mut products, mut pools) = (Names::default(), Names::default());
    Ok(offers.iter().map(|offer| manifest(offer, choice, &mut products, &mut pools, findings)).collect())
}

fn manifest(
    offer: &Offer,
    choice: &Choice,
    products: &mut Names,
    pools: &mut Names,
    findings: &mut Findings,
) -> Imported {
    let product = choice.product.clone().unwrap_or_else(|| label(&offer.vendor, LABEL));
    let product = products.give(product, LABEL);
    let name = choice.name.clone().unwrap_or_else(|| pool_name(&product));
    let name = pools.give(name, names::POOL_NAME);
    let first = offer.features.first().and_then(|feature| feature.parts.first());
    if let Some(first) = first.filter(|_| product != offer.vendor) {
        let vendor = shown(&offer.vendor);
        findings.note(
            &first.at,
            format!("what {vendor} served is the product {product} here: clients must ask for that"),
        );
    }
    pool::imported(offer, name, product, findings)
}

/// What nobody acts on, for the comments.
fn information(license: &License) -> Vec<String> {
    let fates = license.terms.iter().map(|term| carry::keyword(&license.feature, term));
    fates.filter_map(|fate| if let Fate::Comment(text) = fate { Some(text) } else { None }).collect()
}

/// Every keyword of every line that counts.
fn lines(licenses: &Licenses, findings: &mut Findings) {
    for license in &licenses.grants {
        for term in &license.terms {
            tell(&license.at, carry::keyword(&license.feature, term), findings);
        }
    }
    for package in &licenses.packages {
        for term in &package.terms {
            tell(&package.at, carry::keyword(&package.name, term), findings);
        }
    }
    for upgrade in &licenses.upgrades {
        tell(&upgrade.at, carry::upgrade(upgrade), findings);
        for term in &upgrade.terms {
            tell(&upgrade.at, carry::keyword(&upgrade.feature, term), findings);
        }
    }
}

fn policies(rules: &[Rule], licenses: &Licenses, findings: &mut Findings) {
    let components = licenses.packages.iter().flat_map(|package| &package.components);
    let known: BTreeSet<String> = components
        .map(|component| component.feature.to_lowercase())
        .chain(licenses.grants.iter().map(|license| license.feature.to_lowercase()))
        .collect();
    for rule in rules {
        let feature = rule.what.feature().map(|feature| &feature.feature);
        if let Some(feature) = feature.filter(|feature| !known.contains(&feature.to_lowercase())) {
            findings.note(&rule.at, format!("no line that counts has the feature {}", shown(feature)));
        }
        tell(&rule.at, carry::policy(&rule.what), findings);
    }
}

fn tell(at: &At, fate: Fate, findings: &mut Findings) {
    match fate {
        Fate::Carried => {}
        Fate::Comment(text) => findings.note(at, format!("{text} is kept in a comment")),
        Fate::Needless(why) => findings.note(at, why),
        Fate::Lost { what, meanwhile } => findings.lost(at, what, meanwhile),
    }
}
