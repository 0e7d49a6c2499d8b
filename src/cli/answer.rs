//! Answers of the server as table rows.

use genie_client::{
    Denied,
    v1::{ActivateResponse, CheckoutResponse, ValidateResponse},
};
use jiff::Timestamp;

type Table = Vec<Vec<String>>;

fn table(columns: &[(&str, String)]) -> Table {
    let cell = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    vec![
        columns.iter().map(|(head, _)| (*head).to_owned()).collect(),
        columns.iter().map(|(_, text)| cell(text)).collect(),
    ]
}

pub(super) fn activated(answer: &ActivateResponse) -> Table {
    table(&[
        ("VERDICT", answer.verdict().as_str_name().to_owned()),
        ("CODE", answer.code().as_str_name().to_owned()),
        ("TIER", answer.tier.clone()),
        ("EXPIRES", time(answer.expire_time.as_ref())),
        ("ACTIVATION-TOKEN", answer.activation_token.clone()),
        ("MESSAGE", answer.message.clone()),
    ])
}

pub(super) fn validated(answer: &ValidateResponse) -> Table {
    table(&[
        ("VERDICT", answer.verdict().as_str_name().to_owned()),
        ("CODE", answer.code().as_str_name().to_owned()),
        ("TIER", answer.tier.clone()),
        ("FEATURES", answer.features.join(",")),
        ("EXPIRES", time(answer.expire_time.as_ref())),
        ("DAYS-LEFT", answer.days_left.map(|days| days.to_string()).unwrap_or_default()),
        ("MESSAGE", answer.message.clone()),
    ])
}

pub(super) fn checked_out(answer: &CheckoutResponse) -> Table {
    table(&[
        ("VERDICT", answer.verdict().as_str_name().to_owned()),
        ("CODE", answer.code().as_str_name().to_owned()),
        ("TIER", answer.tier.clone()),
        ("FEATURES", answer.features.join(",")),
        ("EXPIRES", time(answer.expire_time.as_ref())),
        ("MESSAGE", answer.message.clone()),
    ])
}

/// A refused checkout, as the server said it.
pub(super) fn refused(denied: &Denied) -> CheckoutResponse {
    CheckoutResponse {
        verdict: denied.verdict.into(),
        code: denied.code.into(),
        message: denied.message.clone(),
        retryable: denied.retryable,
        retry_after: denied.retry_after.and_then(|after| {
            Some(pbjson_types::Duration {
                seconds: i64::try_from(after.as_secs()).ok()?,
                nanos: i32::try_from(after.subsec_nanos()).ok()?,
            })
        }),
        ..CheckoutResponse::default()
    }
}

fn time(time: Option<&genie_proto::Timestamp>) -> String {
    time.and_then(|t| Timestamp::new(t.seconds, t.nanos).ok()).map(|t| t.to_string()).unwrap_or_default()
}
