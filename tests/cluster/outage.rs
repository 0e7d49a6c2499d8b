//! The API server is away for ten minutes, and nobody notices who holds a seat, or wants one of those that are promised
//! and free. `make e2e-long`.

use std::time::Duration;

use crate::hands::Hands;
use crate::judge::Millis;
use crate::kit::{self, Namespace};
use crate::report::{Bounds, Case, Evidence, Report};
use crate::store::Store;
use crate::witness;

const POOL: &str = "patient";
/// 12 minutes: X(1-ρ) is more than the outage.
const HORIZON: Millis = 720_000;
const OUTAGE: Millis = 600_000;
/// Nothing that clients see happens; a holder's renewals are 9 to 10 s apart, and there are 15.
const UNNOTICED: Millis = 5_000;

#[test]
#[ignore = "takes 12 minutes: make e2e-long"]
fn ten_minutes_without_the_api_server_go_unnoticed_where_outage_tolerance_is_twelve() {
    let store = Store::ours().expect("an API server that may be stopped: `make e2e-long` without KUBECONFIG");
    kit::installed();
    let (world, hands) = (Namespace::new("outage"), Hands::new());
    world.apply(&witness::pool(POOL, 2, HORIZON));
    witness::begin(&world, POOL);
    witness::settled(&world, POOL);

    let begun = hands.now();
    store.stop_api_server();
    kit::pass(Duration::from_millis(OUTAGE));
    store.start_api_server();
    let end = hands.now();
    assert!(end - begun >= OUTAGE);

    let records = witness::testimony(&world, &format!("witness-{POOL}"));
    let evidence = Evidence::new(&world.get(&["lpool", POOL]), &records, end);
    let bounds = Bounds { checkout_p99: Some(1_000), ..Bounds::new(UNNOTICED, UNNOTICED, UNNOTICED) };
    let mut report = Report::default();
    let case =
        Case { fault: "API server away for 10 min", pool: POOL, begun, flood: Some((end, end)), end, bounds };
    report.measure(&case, &evidence);
    // The seats of the feature. More of the others cannot be given without a larger promise.
    report.judge(POOL, &evidence, 1);
    report.conclude();
}
