//! Licenses and requests as table rows.

use jiff::Timestamp;

use crate::license::document::{Confirmation, Feature, License, Request, Tier};

pub(super) type Table = Vec<Vec<String>>;

/// A table with this head.
pub(super) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> Table {
    let rows = rows.into_iter().map(|row| row.map(|cell| if cell.is_empty() { "-".into() } else { cell }));
    std::iter::once(head.map(str::to_owned)).chain(rows).map(Vec::from).collect()
}

/// What may be absent.
pub(super) fn cell(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// An end; absent: none.
pub(super) fn end(end: Option<Timestamp>) -> String {
    end.map_or_else(|| "never".to_owned(), |end| end.to_string())
}

/// All that a license says, with what is known of its signature.
pub(super) fn license(license: &License, signature: &str) -> Vec<Table> {
    let borrow = license.borrow.as_ref();
    let rows = [
        ("signature", signature.to_owned()),
        ("license", license.id.clone()),
        ("vendor", license.vendor.clone()),
        ("customer", license.customer.clone()),
        ("product", license.product.clone()),
        ("seats", license.seats.to_string()),
        ("issued", license.issued_at.to_string()),
        ("begins", license.not_before.to_string()),
        ("ends", end(license.not_after)),
        ("grace period", cell(license.grace_period)),
        ("overdraft", cell(license.overdraft)),
        ("borrow", cell(borrow.map(|b| format!("{} seats for {}", b.max_seats, b.max_duration)))),
        ("bound to", cell(license.binding.as_ref())),
        ("server key", server_key(license.cnf.as_ref())),
    ];
    let mut tables = vec![table(["FIELD", "VALUE"], rows.map(|(name, value)| [name.to_owned(), value]))];
    if !license.features.is_empty() {
        let row = |f: &Feature| [f.name.clone(), cell(f.version.as_ref()), cell(f.seats), cell(f.not_after)];
        tables.push(table(["FEATURE", "VERSION", "SEATS", "ENDS"], license.features.iter().map(row)));
    }
    if !license.tiers.is_empty() {
        let row = |t: &Tier| [t.name.clone(), t.features.join(","), cell(t.seats)];
        tables.push(table(["TIER", "FEATURES", "SEATS"], license.tiers.iter().map(row)));
    }
    tables
}

/// All that a request says.
pub(super) fn request(request: &Request, signature: &str) -> Vec<Table> {
    let rows = [
        ("signature", signature.to_owned()),
        ("product", request.product.clone()),
        ("customer", cell(request.customer.as_ref())),
        ("made", request.made_at.to_string()),
        ("for", cell(request.binding.as_ref())),
        ("server key", server_key(request.cnf.as_ref())),
    ];
    vec![table(["FIELD", "VALUE"], rows.map(|(name, value)| [name.to_owned(), value]))]
}

fn server_key(cnf: Option<&Confirmation>) -> String {
    cell(cnf.map(|cnf| cnf.jwk.kid()))
}
