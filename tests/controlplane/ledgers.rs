//! The ledger: what the API server refuses, and what the operator tells servers about one that was lost (R3,
//! R11), or about an owner that was lost with its node (R6b).

use genie_lm::api::{LicensePool, SeatLedger, SeatPlan};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{Place, because, conditions_of, message, record};

#[tokio::test(flavor = "multi_thread")]
async fn a_smaller_generation_is_refused() {
    let place = Place::new("ledger").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.own("cad", 5, 0).await.unwrap();
    let refusal = place.own("cad", 4, 0).await.expect_err("a smaller generation was written");
    assert!(refusal.contains("the generation of a SeatLedger never shrinks"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_holder_needs_a_larger_generation() {
    let place = Place::new("ledger").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.write_record("cad", record("one", 5, 0)).await.unwrap();
    place.write_record("cad", record("one", 5, 1)).await.expect("its own holder writes on");
    let refusal = place
        .write_record("cad", record("other", 5, 1))
        .await
        .expect_err("another holder took over without a fence");
    assert!(refusal.contains("a SeatLedger changes its holder only with a larger generation"), "{refusal}");
    place.write_record("cad", record("other", 6, 1)).await.expect("a fenced takeover");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_cannot_be_removed() {
    let place = Place::new("ledger").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    let mut ledger = place.own("cad", 1, 0).await.unwrap();
    ledger.status = None;
    let api = place.api::<SeatLedger>();
    let refusal =
        api.replace_status("cad", &Default::default(), &ledger).await.expect_err("the record was removed");
    assert!(refusal.to_string().contains("the record of a SeatLedger cannot be removed"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_deleted_in_passing_stays() {
    let place = Place::new("ledger").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    let ledger = place.own("cad", 1, 0).await.unwrap();
    place.delete::<SeatLedger>("cad").await;
    place
        .until::<LicensePool>("cad", "says that the ledger is kept", |pool| {
            let conditions = pool.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
            conditions.iter().any(|one| one.reason == "KeptFromDeletion")
        })
        .await;
    assert_eq!(place.there::<SeatLedger>("cad").await.uid(), ledger.uid());
    place.own("cad", 2, 0).await.expect("its owner writes on");
}

/// A record with some fields changed.
fn changed(mut record: Value, fields: Value) -> Value {
    record.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_within_a_generation_needs_a_larger_seq() {
    let place = Place::new("ledger").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    let at = |generation, in_use, seq| changed(record("one", generation, in_use), json!({ "seq": seq }));
    place.write_record("cad", at(5, 0, 10)).await.unwrap();
    for seq in [9, 10] {
        let refusal = place.write_record("cad", at(5, 1, seq)).await.expect_err("an old write was taken");
        assert!(refusal.contains("each change of a SeatLedger has a larger seq"), "{refusal}");
    }
    place.write_record("cad", at(5, 0, 10)).await.expect("what changes nothing is fine");
    place.write_record("cad", at(5, 1, 11)).await.expect("a later write");
    let label = json!({ "metadata": { "labels": { "a": "b" } } });
    place.patch::<SeatLedger>("cad", label).await.expect("its metadata is another matter");
    place.write_record("cad", at(6, 1, 1)).await.expect("another generation counts anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_latest_time_is_taken_away_by_the_patch_of_the_manual() {
    let place = Place::new("ledger").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    let year_2100 = json!({ "seq": 41, "latestTime": 4_102_444_800_u64 });
    place.write_record("cad", changed(record("one", 5, 0), year_2100)).await.unwrap();
    let remove = |seq: u64| {
        let patch = json!([
            { "op": "remove", "path": "/status/record/latestTime" },
            { "op": "replace", "path": "/status/record/seq", "value": seq },
        ]);
        let patch = Patch::<()>::Json(serde_json::from_value(patch).unwrap());
        let api = place.api::<SeatLedger>();
        async move { api.patch_status("cad", &PatchParams::default(), &patch).await }
    };
    let refusal = remove(41).await.expect_err("it was taken away unnoticed").to_string();
    assert!(refusal.contains("each change of a SeatLedger has a larger seq"), "{refusal}");
    let ledger = remove(42).await.expect("the patch of the manual");
    assert_eq!(ledger.record().unwrap().latest_time.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_begins_only_with_a_larger_generation() {
    let place = Place::new("ledger").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    let recovering = |generation, recovering: bool| {
        changed(record("one", generation, 0), json!({ "recovering": recovering }))
    };
    place.write_record("cad", recovering(5, true)).await.unwrap();
    place.write_record("cad", recovering(5, false)).await.expect("it ends");
    let refusal = place.write_record("cad", recovering(5, true)).await.expect_err("it began again");
    assert!(refusal.contains("a SeatLedger begins a recovery only with a larger generation"), "{refusal}");
    place.write_record("cad", recovering(6, true)).await.expect("a fenced takeover");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_is_its_holder_s_own_and_stays() {
    let place = Place::new("ledger").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    let sealed = |generation: u64, nonce: &str| {
        let sealed = json!({ "sealed": { "generation": generation, "nonce": nonce } });
        changed(record("one", 5, 0), sealed)
    };
    place.write_record("cad", record("one", 5, 0)).await.unwrap();
    for foreign in [sealed(4, "one"), sealed(5, "other")] {
        let refusal = place.write_record("cad", foreign).await.expect_err("another's seal was taken");
        assert!(refusal.contains("sealed by its own holder, in its own generation"), "{refusal}");
    }
    place.write_record("cad", sealed(5, "one")).await.expect("its own");
    let refusal = place.write_record("cad", record("one", 5, 0)).await.expect_err("the seal was broken");
    assert!(refusal.contains("a seal of a SeatLedger stays until there is a larger generation"), "{refusal}");
    place.write_record("cad", record("other", 6, 0)).await.expect("a successor breaks it by its generation");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_record_lists_is_bounded() {
    let place = Place::new("ledger").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    let promises = |count: u32| {
        let all: serde_json::Map<_, _> = (0..count).map(|one| (format!("feature/{one}"), json!(1))).collect();
        changed(record("one", 5, 0), json!({ "promises": all }))
    };
    place.write_record("cad", promises(8192)).await.expect("the most that a ledger counts, and dropped ones");
    let refusal = place.write_record("cad", promises(8193)).await.expect_err("too many promises were taken");
    assert!(refusal.contains("8192"), "{refusal}");
    let borrowed = |count: u32| {
        let one =
            |one| json!({ "id": format!("{one}"), "grant": 1, "count": 1, "limits": ["seats"], "ends": 9 });
        changed(record("one", 5, 0), json!({ "borrowed": (0..count).map(one).collect::<Vec<_>>() }))
    };
    place.write_record("cad", borrowed(4000)).await.expect("the most that can be lent");
    let refusal = place.write_record("cad", borrowed(4001)).await.expect_err("too many were lent");
    assert!(refusal.contains("4000"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_takeover_is_one_write_of_the_plan_and_a_lost_ledger_is_announced_before_an_empty_one_is_made() {
    let place = Place::new("ledger").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.there::<SeatPlan>("cad").await;
    for generation in 1..=4 {
        place.own("cad", generation, 0).await.unwrap();
        place.own("cad", generation, 1).await.unwrap();
        let seen = |plan: &SeatPlan| plan.spec.min_generation == generation;
        let plan = place.until::<SeatPlan>("cad", "has the generation", seen).await;
        assert_eq!(plan.metadata.generation, Some(generation as i64 + 1), "one write for one takeover");
    }
    let lost = place.there::<SeatLedger>("cad").await.uid();
    place.patch::<SeatLedger>("cad", json!({ "metadata": { "finalizers": null } })).await.unwrap();
    place.delete::<SeatLedger>("cad").await;
    let empty = place.until::<SeatLedger>("cad", "is another", |ledger| ledger.uid() != lost).await;
    assert!(empty.status.is_none_or(|status| status.record.is_none()));
    let plan = place.there::<SeatPlan>("cad").await;
    assert_eq!(plan.spec.min_generation, 4, "the plan says it when the empty ledger is there, not later");
    let longest = plan.spec.longest_outage_tolerance.map(|longest| longest.to_string());
    assert_eq!(longest.as_deref(), Some("10m"), "and how long what it gave out may last");
    let told = |pool: &LicensePool| because(conditions_of(pool), "LedgerSetBack", "True", "LedgerLost");
    place.until::<LicensePool>("cad", "says that the ledger was lost", told).await;

    place.own("cad", 5, 0).await.unwrap();
    let over = |pool: &LicensePool| conditions_of(pool).iter().all(|one| one.type_ != "LedgerSetBack");
    place.until::<LicensePool>("cad", "says it no more, since there is an owner after it", over).await;
    let over =
        |plan: &SeatPlan| plan.spec.min_generation == 5 && plan.spec.longest_outage_tolerance.is_none();
    place.until::<SeatPlan>("cad", "says no more of what was lost", over).await;
}

/// An etcd that is restored sets all of them back at once; only the operator that runs knows better.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_set_back_is_noticed_by_an_operator_that_runs() {
    let place = Place::new("ledger").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.own("cad", 7, 0).await.unwrap();
    let seen = |plan: &SeatPlan| plan.spec.min_generation == 7;
    place.until::<SeatPlan>("cad", "has the generation", seen).await;
    let told = |generation| {
        move |pool: &LicensePool| {
            let status = pool.status.clone().unwrap_or_default();
            status.ledger.is_some_and(|ledger| ledger.generation == generation)
        }
    };
    place.until::<LicensePool>("cad", "has it in its status", told(7)).await;

    // The rules forbid a smaller generation in place, so the restored ledger is another object.
    place.patch::<SeatLedger>("cad", json!({ "metadata": { "finalizers": null } })).await.unwrap();
    place.delete::<SeatLedger>("cad").await;
    let back = json!({ "spec": { "minGeneration": 3 } });
    place.patch::<SeatPlan>("cad", back).await.unwrap();
    place.own("cad", 3, 0).await.unwrap();
    place.until::<SeatPlan>("cad", "is as high as before", seen).await;
    let told = |pool: &LicensePool| because(conditions_of(pool), "LedgerSetBack", "True", "StoreSetBack");
    let pool = place.until::<LicensePool>("cad", "says that the store was set back", told).await;
    assert!(message(&pool, "LedgerSetBack").contains("at generation 3, and 7 is the least"));
    place.until_event("StoreSetBack", "Warning").await;
    place.own("cad", 8, 0).await.expect("the next owner goes on above it");
}

fn node(name: &str, taints: Value, ready: &str) -> Value {
    json!({
        "metadata": { "name": name }, "spec": { "taints": taints },
        "status": { "conditions": [{ "type": "Ready", "status": ready }] },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_whose_node_is_marked_as_off_is_told_to_its_successors_and_no_other_is() {
    let place = Place::new("ledger").await;
    let name = format!("node-of-{}", place.namespace);
    let nodes: Api<Node> = Api::all(place.client.clone());
    let object = serde_json::from_value(node(&name, json!([]), "Unknown")).unwrap();
    nodes.create(&PostParams::default(), &object).await.unwrap();
    let on = |nonce: &str, generation, node: &str| {
        let mut record = record(nonce, generation, 0);
        record["holder"]["node"] = json!(node);
        record
    };
    for (product, node) in [("cad", &*name), ("other", "elsewhere")] {
        place.pool(product, json!({ "product": product, "seats": 3 })).await;
        place.write_record(product, on("lost", 1, node)).await.unwrap();
        let seen = |plan: &SeatPlan| plan.spec.min_generation == 1;
        let plan = place.until::<SeatPlan>(product, "has seen the owner", seen).await;
        assert!(plan.spec.ended.is_empty());
    }
    let mark = json!([{ "key": "node.kubernetes.io/out-of-service", "effect": "NoExecute" }]);
    let taint = Patch::Merge(json!({ "spec": { "taints": mark } }));
    nodes.patch(&name, &PatchParams::default(), &taint).await.unwrap();
    place.until::<SeatPlan>("cad", "tells its end", |plan| plan.spec.ended == ["lost"]).await;

    place.write_record("cad", on("next", 2, "elsewhere")).await.unwrap();
    let over = |plan: &SeatPlan| plan.spec.min_generation == 2 && plan.spec.ended.is_empty();
    place.until::<SeatPlan>("cad", "speaks of the lost one no more", over).await;
    assert!(place.there::<SeatPlan>("other").await.spec.ended.is_empty(), "its node is another");
    nodes.delete(&name, &Default::default()).await.unwrap();
}

/// A kubelet that says Ready runs pods: the mark was forgotten there.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_on_a_node_that_is_back_under_a_forgotten_mark_has_not_ended() {
    let place = Place::new("ledger").await;
    let name = format!("node-of-{}", place.namespace);
    let nodes: Api<Node> = Api::all(place.client.clone());
    let mark = json!([{ "key": "node.kubernetes.io/out-of-service", "effect": "NoExecute" }]);
    let object = serde_json::from_value(node(&name, mark, "True")).unwrap();
    nodes.create(&PostParams::default(), &object).await.unwrap();
    let status = Patch::Merge(json!({ "status": node(&name, json!([]), "True")["status"] }));
    nodes.patch_status(&name, &PatchParams::default(), &status).await.unwrap();
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    let mut lives = record("lives", 1, 0);
    lives["holder"]["node"] = json!(name);
    place.write_record("cad", lives).await.unwrap();
    let seen = |plan: &SeatPlan| plan.spec.min_generation == 1;
    let plan = place.until::<SeatPlan>("cad", "has seen the owner", seen).await;
    assert!(plan.spec.ended.is_empty());
    nodes.delete(&name, &Default::default()).await.unwrap();
}
