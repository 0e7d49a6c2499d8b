//! A pool becomes a server, stays one, and says so.

use genie_lm::api::{LicenseGrant, LicensePool, SeatLedger, SeatPlan};
use insta::assert_yaml_snapshot;
use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::Lease,
    core::v1::{ConfigMap, ResourceQuota, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{Role, RoleBinding},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use serde_json::json;

use crate::support::{Kind, Place, because, conditions_of, is, message, record, spec_of, text};

const SERVER: &str = "cad-license-server";

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_becomes_everything_that_its_servers_need() {
    let place = Place::new("pool").await;
    place
        .pool(
            "cad",
            json!({
                "product": "cad", "seats": 3, "features": [{ "name": "render", "seats": 1 }],
                "tiers": [{ "name": "gold", "features": ["render"] }],
                "validity": { "notAfter": "2099-12-31T00:00:00Z" },
                "server": { "hostnames": ["license.example.com"], "nodeSelector": { "disk": "fast" } },
            }),
        )
        .await;
    let namespace = &place.namespace;
    assert_yaml_snapshot!("deployment", spec_of(&place.there::<Deployment>(SERVER).await, namespace));
    assert_yaml_snapshot!("role", spec_of(&place.there::<Role>(SERVER).await, namespace));
    assert_yaml_snapshot!("role-binding", spec_of(&place.there::<RoleBinding>(SERVER).await, namespace));
    assert_yaml_snapshot!("network-policy", spec_of(&place.there::<NetworkPolicy>(SERVER).await, namespace));
    assert_yaml_snapshot!("pdb", spec_of(&place.there::<PodDisruptionBudget>(SERVER).await, namespace));
    assert_yaml_snapshot!("config-map", spec_of(&place.there::<ConfigMap>(SERVER).await, namespace));
    assert_yaml_snapshot!(
        "service-account",
        spec_of(&place.there::<ServiceAccount>(SERVER).await, namespace)
    );
    assert_yaml_snapshot!("plan", spec_of(&place.there::<SeatPlan>("cad").await, namespace));
    assert_yaml_snapshot!("ledger", spec_of(&place.there::<SeatLedger>("cad").await, namespace));
    assert_yaml_snapshot!("lease", spec_of(&place.there::<Lease>("genie-lm.cad").await, namespace));
    let mut service = spec_of(&place.there::<Service>("cad-license").await, namespace);
    for assigned in ["clusterIP", "clusterIPs"] {
        service["spec"][assigned] = json!("ASSIGNED");
    }
    assert_yaml_snapshot!("service", service);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secrets_of_a_server_hold_certificates_and_keys() {
    let place = Place::new("pool").await;
    place
        .pool(
            "cad",
            json!({ "product": "cad", "seats": 3, "server": { "hostnames": ["license.example.com"] } }),
        )
        .await;
    let tls = place.there::<Secret>(&format!("{SERVER}-tls")).await;
    let ca = place.there::<Secret>("genie-lm-ca").await;
    assert_eq!(text(&tls, "ca.crt"), text(&ca, "tls.crt"));
    let names = &tls.annotations()["genie-lm.io/tls-names"];
    for name in
        ["genie-lm", "license.example.com", &format!("cad-license.{}.svc.cluster.local", place.namespace)]
    {
        assert!(names.split(',').any(|one| one == name), "{name} is not among {names}");
    }
    let peer = place.there::<Secret>(&format!("{SERVER}-peer")).await;
    assert_eq!(
        text(&peer, "ca.crt"),
        text(&peer, "tls.crt"),
        "the peers' certificate is its own trust anchor"
    );
    let keys = place.there::<Secret>(&format!("{SERVER}-keys")).await;
    assert_eq!(text(&keys, "primary"), "0");
    assert_eq!(keys.data.unwrap()["0"].0.len(), 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_name_makes_a_new_certificate_and_keeps_the_mac_keys() {
    let place = Place::new("pool").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    let before = place.there::<Secret>(&format!("{SERVER}-tls")).await;
    let keys = place.there::<Secret>(&format!("{SERVER}-keys")).await;
    let patch = json!({ "spec": { "server": { "hostnames": ["10.1.2.3"] } } });
    place.patch::<LicensePool>("cad", patch).await.unwrap();
    let after = place
        .until::<Secret>(&format!("{SERVER}-tls"), "has the new name", |secret| {
            secret.annotations().get("genie-lm.io/tls-names").is_some_and(|names| names.contains("10.1.2.3"))
        })
        .await;
    assert_ne!(text(&before, "tls.crt"), text(&after, "tls.crt"));
    assert_eq!(keys.data, place.there::<Secret>(&format!("{SERVER}-keys")).await.data);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_ca_reaches_servers_and_bindings() {
    let place = Place::new("pool").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.grant("team", json!({ "poolRef": { "name": "cad" } })).await;
    let key = place.ready_grant("team").await;
    let old = text(&place.there::<Secret>("genie-lm-ca").await, "tls.crt");
    place.delete::<Secret>("genie-lm-ca").await;
    let ca = place.until::<Secret>("genie-lm-ca", "is another", |ca| text(ca, "tls.crt") != old).await;
    for secret in [format!("{SERVER}-tls"), "team-license".into()] {
        place
            .until::<Secret>(&secret, "trusts the new CA", |it| text(it, "ca.crt") == text(&ca, "tls.crt"))
            .await;
    }
    assert_eq!(key, text(&place.there::<Secret>("team-license").await, "key"), "the activation key stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_speaks_of_the_generation_it_has_seen() {
    let place = Place::new("pool").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    let pool = place
        .until::<LicensePool>("cad", "is Accepted", |pool| is(conditions_of(pool), "Accepted", "True"))
        .await;
    assert!(because(conditions_of(&pool), "LedgerReady", "False", "NoOwner"));
    assert!(is(conditions_of(&pool), "Ready", "False"));
    let status = pool.status.unwrap();
    assert_eq!(status.endpoint, Some(format!("cad-license.{}.svc.cluster.local:1453", place.namespace)));
    let since =
        status.conditions.iter().find(|one| one.type_ == "Accepted").unwrap().last_transition_time.clone();

    place.patch::<LicensePool>("cad", json!({ "spec": { "seats": 5 } })).await.unwrap();
    let pool = place
        .until::<LicensePool>("cad", "is seen with five seats", |pool| {
            let status = pool.status.clone().unwrap_or_default();
            status.observed_generation == pool.metadata.generation
                && status.seats.is_some_and(|seats| seats.total == 5)
        })
        .await;
    let accepted = conditions_of(&pool).iter().find(|one| one.type_ == "Accepted").unwrap();
    assert_eq!(accepted.observed_generation, pool.metadata.generation);
    assert_eq!(accepted.last_transition_time, since, "the transition time moves only with the status");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_owner_writes_into_the_ledger_is_seen_in_the_status() {
    let place = Place::new("pool").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.own("cad", 1, 2).await.unwrap();
    let pool = place
        .until::<LicensePool>("cad", "shows the owner", |pool| is(conditions_of(pool), "LedgerReady", "True"))
        .await;
    let status = pool.status.unwrap();
    let ledger = status.ledger.unwrap();
    assert_eq!((ledger.owner.as_deref(), ledger.generation), (Some("pod-1"), 1));
    let seats = status.seats.unwrap();
    assert_eq!((seats.total, seats.in_force, seats.in_use), (3, 3, 2));

    place.patch::<LicensePool>("cad", json!({ "spec": { "seats": 1 } })).await.unwrap();
    let pool = place
        .until::<LicensePool>("cad", "has one seat", |pool| {
            pool.status.as_ref().and_then(|status| status.seats.clone()).is_some_and(|seats| seats.total == 1)
        })
        .await;
    let in_force = pool.status.unwrap().seats.unwrap().in_force;
    assert_eq!(in_force, 2, "what the ledger promises counts until it is lowered there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_shows_while_it_lasts_and_usage_shows_by_grant_and_feature() {
    let place = Place::new("pool").await;
    let features = json!([{ "name": "render", "seats": 2 }]);
    place.pool("cad", json!({ "product": "cad", "seats": 3, "features": features })).await;
    place.grant("team", json!({ "poolRef": { "name": "cad" } })).await;
    place.ready_grant("team").await;
    let mut takeover = record("two", 2, 2);
    takeover["recovering"] = json!(true);
    takeover["usage"] =
        json!({ "seats": 2, "feature/render": 1, format!("grant/{}/team", place.namespace): 2 });
    place.write_record("cad", takeover.clone()).await.unwrap();
    let pool = place
        .until::<LicensePool>("cad", "recovers", |pool| is(conditions_of(pool), "Recovering", "True"))
        .await;
    let render = &pool.status.as_ref().unwrap().features[0];
    assert_eq!((render.name.as_str(), render.total, render.in_use), ("render", Some(2), 1));
    place
        .until::<LicenseGrant>("team", "holds two seats", |grant| {
            let seats = grant.status.as_ref().and_then(|status| status.seats.clone());
            seats.is_some_and(|seats| seats.in_use == 2)
        })
        .await;

    takeover["recovering"] = json!(false);
    takeover["seq"] = json!(9000);
    place.write_record("cad", takeover).await.unwrap();
    let calm = |pool: &LicensePool| !conditions_of(pool).iter().any(|one| one.type_ == "Recovering");
    place.until::<LicensePool>("cad", "recovers no more", calm).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_pool_is_told_before_and_a_grace_period_while_it_lasts() {
    let place = Place::new("pool").await;
    let hours = |hours: i64| (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours)).to_string();
    place.pool("soon", json!({ "product": "soon", "seats": 3, "validity": { "notAfter": hours(24) } })).await;
    let soon = place
        .until::<LicensePool>("soon", "says that it ends", |pool| is(conditions_of(pool), "Expiring", "True"))
        .await;
    assert!(is(conditions_of(&soon), "LicenseValid", "True"));
    let grace = json!({ "notAfter": hours(-1), "gracePeriod": "24h" });
    place.pool("grace", json!({ "product": "grace", "seats": 3, "validity": grace })).await;
    let in_grace = |pool: &LicensePool| because(conditions_of(pool), "LicenseValid", "True", "Grace");
    place.until::<LicensePool>("grace", "is in its grace period", in_grace).await;
    let told = |pool: &LicensePool| because(conditions_of(pool), "Expiring", "True", "GracePeriod");
    let pool = place.until::<LicensePool>("grace", "says so as a warning", told).await;
    assert!(message(&pool, "Expiring").contains("works until"), "{}", message(&pool, "Expiring"));
    place.until_event("GracePeriod", "Warning").await;
    place.pool("over", json!({ "product": "over", "seats": 3, "validity": { "notAfter": hours(-1) } })).await;
    let ended = |pool: &LicensePool| because(conditions_of(pool), "LicenseValid", "False", "Expired");
    place.until::<LicensePool>("over", "has ended", ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_told_at_each_chosen_time_once_and_without_anybody_touching_it() {
    let place = Place::new("pool").await;
    let end = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + 3600).unwrap();
    let times = json!(["3585s", "1h", "3575s"]);
    let validity = json!({ "notAfter": end.to_string(), "expiryWarnings": times });
    place.pool("cad", json!({ "product": "cad", "seats": 3, "validity": validity })).await;
    let grant = json!({ "poolRef": { "name": "cad" }, "validity": { "notAfter": end.to_string() } });
    place.grant("team", grant).await;
    for within in ["1h", "59m45s", "59m35s"] {
        let expected = format!("it ends within {within}, on {end}: extend spec.validity");
        let says = |conditions: &[Condition]| {
            conditions.iter().any(|one| one.type_ == "Expiring" && one.message == expected)
        };
        place.until::<LicensePool>("cad", &expected, |pool| says(conditions_of(pool))).await;
        place.until::<LicenseGrant>("team", &expected, |grant| says(conditions_of(grant))).await;
    }
    for kind in ["LicensePool", "LicenseGrant"] {
        place.until_told(kind, "EndsSoon", "Warning", 3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pools_of_one_product_are_told_of_each_other_and_the_older_serves() {
    let place = Place::new("pool").await;
    place.pool("first", json!({ "product": "cad", "seats": 3 })).await;
    place.there::<SeatPlan>("cad").await;
    // Ages are told apart by the second, and by name within one.
    place.pool("second", json!({ "product": "cad", "seats": 50 })).await;
    let second = place
        .until::<LicensePool>("second", "is refused", |pool| {
            because(conditions_of(pool), "Accepted", "False", "ProductConflict")
        })
        .await;
    assert!(message(&second, "Accepted").contains("first"), "{}", message(&second, "Accepted"));
    let first = place
        .until::<LicensePool>("first", "is warned", |pool| {
            because(conditions_of(pool), "Accepted", "True", "ProductConflict")
        })
        .await;
    assert!(message(&first, "Accepted").contains("second"), "{}", message(&first, "Accepted"));
    assert_eq!(place.there::<SeatPlan>("cad").await.spec.pool, "first");

    place.delete::<LicensePool>("first").await;
    let plan =
        place.until::<SeatPlan>("cad", "is the second pool's", |plan| plan.spec.pool == "second").await;
    assert_eq!(plan.spec.seats, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostname_that_fits_no_certificate_is_refused_by_condition() {
    let place = Place::new("pool").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3, "server": { "hostnames": ["münchen"] } })).await;
    let pool = place
        .until::<LicensePool>("cad", "is refused", |pool| is(conditions_of(pool), "Accepted", "False"))
        .await;
    assert!(message(&pool, "Accepted").contains("spec.server.hostnames"), "{}", message(&pool, "Accepted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_quota_refuses_is_told_and_goes_on_when_the_quota_allows_it() {
    let mut place = Place::empty("pool").await;
    let none = json!({ "metadata": { "name": "none" }, "spec": { "hard": { "services": "0" } } });
    place.create::<ResourceQuota>(none).await;
    place
        .until::<ResourceQuota>("none", "counts", |quota| {
            quota
                .status
                .as_ref()
                .is_some_and(|status| status.hard.as_ref().is_some_and(|hard| !hard.is_empty()))
        })
        .await;
    place.start("operator-0").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    let refused = |pool: &LicensePool| because(conditions_of(pool), "Accepted", "False", "RefusedByCluster");
    let pool = place.until::<LicensePool>("cad", "is refused", refused).await;
    assert!(message(&pool, "Accepted").contains("exceeded quota"), "{}", message(&pool, "Accepted"));
    place.delete::<ResourceQuota>("none").await;
    place.until::<LicensePool>("cad", "goes on", |pool| is(conditions_of(pool), "Accepted", "True")).await;
}

async fn heals<K: Kind>(place: &Place, name: &str) {
    let before = place.there::<K>(name).await.uid();
    place.delete::<K>(name).await;
    place.until::<K>(name, "is made again", |object| object.uid() != before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_object_that_somebody_deletes_is_made_again() {
    let place = Place::new("pool").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.there::<Deployment>(SERVER).await;
    heals::<Deployment>(&place, SERVER).await;
    heals::<ConfigMap>(&place, SERVER).await;
    heals::<PodDisruptionBudget>(&place, SERVER).await;
    heals::<NetworkPolicy>(&place, SERVER).await;
    heals::<ServiceAccount>(&place, SERVER).await;
    heals::<Role>(&place, SERVER).await;
    heals::<RoleBinding>(&place, SERVER).await;
    heals::<Service>(&place, "cad-license").await;
    heals::<SeatPlan>(&place, "cad").await;
    heals::<Lease>(&place, "genie-lm.cad").await;
    heals::<Secret>(&place, "cad-license-server-tls").await;
    heals::<Secret>(&place, "cad-license-server-peer").await;
    heals::<Secret>(&place, "cad-license-server-keys").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_somebody_changes_is_set_back_and_one_that_is_wanted_no_more_goes() {
    let place = Place::new("pool").await;
    place
        .pool(
            "cad",
            json!({ "product": "cad", "seats": 3, "server": { "nodeSelector": { "disk": "fast" } } }),
        )
        .await;
    place.there::<Deployment>(SERVER).await;
    place.patch::<Deployment>(SERVER, json!({ "spec": { "replicas": 7 } })).await.unwrap();
    place
        .until::<Deployment>(SERVER, "has two replicas again", |it| {
            it.spec.as_ref().is_some_and(|spec| spec.replicas == Some(2))
        })
        .await;
    place
        .patch::<LicensePool>("cad", json!({ "spec": { "server": { "nodeSelector": null } } }))
        .await
        .unwrap();
    place
        .until::<Deployment>(SERVER, "has no node selector", |it| {
            it.spec
                .as_ref()
                .and_then(|spec| spec.template.spec.as_ref())
                .is_some_and(|pod| pod.node_selector.is_none())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_registry_s_secret_reaches_the_pods() {
    let place = Place::new("pool").await;
    let server = json!({ "imagePullSecrets": [{ "name": "regcred" }] });
    place.pool("cad", json!({ "product": "cad", "seats": 3, "server": server })).await;
    let pod = place.there::<Deployment>(SERVER).await.spec.unwrap().template.spec.unwrap();
    let secrets = pod.image_pull_secrets.unwrap_or_default();
    assert_eq!(secrets.iter().map(|secret| secret.name.as_str()).collect::<Vec<_>>(), ["regcred"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn clones_of_sessions_are_counted_and_told() {
    let place = Place::new("pool").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    let mut cloned = record("one", 1, 0);
    cloned["clones"] = json!(2);
    place.write_record("cad", cloned).await.unwrap();
    place.until_event("CloneDetected", "Warning").await;
    place
        .until::<LicensePool>("cad", "counts them", |pool| {
            let status = pool.status.clone().unwrap_or_default();
            status.ledger.is_some_and(|ledger| ledger.clones == Some(2))
        })
        .await;
}
