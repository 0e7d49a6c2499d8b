//! `genie-lm serve` on directories: what it makes, keeps, refuses and reloads.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::harness::{MANIFESTS, Server, command, eventually};

const NEW_GRANT: &str = "
apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {name: team-c, namespace: default}
spec: {poolRef: {name: cad}, tier: pro}
";

#[tokio::test]
async fn secrets_are_readable_by_nobody_else() {
    let server = Server::start();
    for (path, mode) in [
        (server.data(), 0o700),
        (server.binding("team-a"), 0o700),
        (server.binding("team-a").join("key"), 0o600),
        (server.data().join("private/ca.key"), 0o600),
        (server.data().join("private/mac-0"), 0o600),
        (server.data().join("private/mac-primary"), 0o600),
        (server.data().join("admin.sock"), 0o600),
    ] {
        let found = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{}", path.display());
    }
    let ledger = fs::read_to_string(server.data().join("ledgers/default/acme-cad.json")).unwrap();
    assert!(!ledger.contains("GLM1-"));
}

#[tokio::test]
async fn keys_and_authority_stay_over_a_restart() {
    let server = Server::start();
    let (key, authority) = (server.key("team-a"), fs::read(server.data().join("ca.crt")).unwrap());
    let server = server.kill_and_restart();
    assert_eq!(server.key("team-a"), key);
    assert_eq!(fs::read(server.data().join("ca.crt")).unwrap(), authority);
}

#[tokio::test]
async fn ledgers_that_were_moved_away_are_known_to_be_lost_and_no_seat_is_given_twice() {
    let mut server = Server::start();
    let mut seats = Vec::new();
    for _ in 0..3 {
        seats.push(server.checkout("team-a", &[]).await);
    }
    assert!(seats.iter().all(|seat| seat["verdict"] == "AUTHORIZED"), "{seats:?}");
    assert!(server.stop().success());
    fs::rename(server.data().join("ledgers"), server.data().join("moved")).unwrap();
    let server = server.kill_and_restart();
    assert_eq!(server.checkout("team-a", &[]).await["code"], "RECOVERING");
    for seat in &seats {
        assert_eq!(server.renew(seat).await["verdict"], "AUTHORIZED");
    }
    assert_eq!(server.checkout("team-a", &[]).await["code"], "RECOVERING");
}

#[tokio::test]
async fn a_mac_key_that_has_served_its_time_gives_way_and_sessions_go_on() {
    let server = Server::start();
    let seat = server.checkout("team-a", &[]).await;
    let file = |name: &str| server.data().join("private").join(name);
    let (first, second, primary) = (file("mac-0"), file("mac-1"), file("mac-primary"));
    assert_eq!(fs::read_to_string(&primary).unwrap(), "0");
    let days = Duration::from_secs(91 * 24 * 3600);
    fs::OpenOptions::new().write(true).open(&first).unwrap().set_modified(SystemTime::now() - days).unwrap();
    let server = server.kill_and_restart();
    assert_eq!(fs::read_to_string(&primary).unwrap(), "1");
    assert_ne!(fs::read(first).unwrap(), fs::read(second).unwrap());
    let renewed = server.renew(&seat).await;
    assert_eq!(renewed["verdict"], "AUTHORIZED");
    assert_eq!(server.renew(&renewed).await["verdict"], "AUTHORIZED");
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused() {
    let server = Server::start();
    let second = command(server.folder.path(), "127.0.0.1:0").output().unwrap();
    assert_eq!(second.status.code(), Some(6));
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(message.contains("another genie-lm serves from"), "{message}");
    assert!(message.contains("stop it first, or use another --data directory"), "{message}");
    assert_eq!(server.checkout("team-a", &[]).await["verdict"], "AUTHORIZED");
}

#[tokio::test]
async fn after_kill_9_of_the_first_server_the_second_has_the_data_at_once() {
    let server = Server::start();
    let seat = server.checkout("team-a", &[]).await;
    let refused = command(server.folder.path(), "127.0.0.1:0").output().unwrap();
    assert_eq!(refused.status.code(), Some(6));
    let second = server.kill_and_restart();
    assert_eq!(second.renew(&seat).await["verdict"], "AUTHORIZED");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let server = Server::start();
    let folder = tempfile::TempDir::new().unwrap();
    fs::create_dir(folder.path().join("manifests")).unwrap();
    fs::write(folder.path().join("manifests/all.yaml"), MANIFESTS).unwrap();
    let second = command(folder.path(), &server.address.to_string()).output().unwrap();
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(6), "{message}");
    assert!(message.contains(&server.address.to_string()) && message.contains("--listen"), "{message}");
}

#[tokio::test]
async fn one_broken_file_does_not_hide_the_others() {
    let folder = tempfile::TempDir::new().unwrap();
    fs::create_dir(folder.path().join("manifests")).unwrap();
    fs::write(folder.path().join("manifests/good.yaml"), MANIFESTS).unwrap();
    fs::write(folder.path().join("manifests/broken.yaml"), "kind: LicenseGrant\nspec: [\n").unwrap();
    let server = Server::start_in(folder.into(), "127.0.0.1:0".parse().unwrap());
    assert_eq!(server.checkout("team-a", &[]).await["verdict"], "AUTHORIZED");
    let problems = server.status()["problems"].to_string();
    assert!(problems.contains("broken.yaml:"), "{problems}");
}

#[tokio::test]
async fn a_changed_file_takes_effect_without_losing_a_session() {
    let server = Server::start();
    let seat = server.checkout("team-a", &[]).await;
    fs::write(server.manifests().join("new.yaml"), NEW_GRANT).unwrap();
    eventually("the new grant is there", async || {
        server.binding("team-c").join("uri").exists().then_some(())
    })
    .await;
    eventually("the new grant works", async || {
        (server.checkout("team-c", &[]).await["verdict"] == "AUTHORIZED").then_some(())
    })
    .await;
    assert_eq!(server.renew(&seat).await["verdict"], "AUTHORIZED");
}

#[tokio::test]
async fn a_broken_change_changes_nothing_until_it_is_mended() {
    let server = Server::start();
    let seat = server.checkout("team-a", &[]).await;
    fs::write(server.manifests().join("all.yaml"), "kind: [").unwrap();
    server.hang_up();
    eventually("the problem is told", async || (server.status()["problems"] != json!([])).then_some(()))
        .await;
    assert_eq!(server.renew(&seat).await["verdict"], "AUTHORIZED");
    assert_eq!(server.checkout("team-a", &[]).await["verdict"], "AUTHORIZED");
    fs::write(server.manifests().join("all.yaml"), MANIFESTS).unwrap();
    eventually("the problem is gone", async || (server.status()["problems"] == json!([])).then_some(()))
        .await;
}

#[tokio::test]
async fn a_withdrawn_grant_is_told_so() {
    let server = Server::start();
    let seat = server.checkout("team-a", &[]).await;
    let token = server.call("activate", json!({ "product": "acme-cad", "key": server.key("team-a") })).await
        ["activationToken"]
        .clone();
    let without: String = MANIFESTS
        .split("---")
        .filter(|document| !document.contains("team-a"))
        .collect::<Vec<_>>()
        .join("---");
    fs::write(server.manifests().join("all.yaml"), without).unwrap();
    eventually("the grant is gone", async || (server.renew(&seat).await["code"] == "REVOKED").then_some(()))
        .await;
    let by_token = server.call("validate", json!({ "product": "acme-cad", "key": token })).await;
    assert_eq!(by_token["code"], "REVOKED");
    let by_key = server.call("validate", json!({ "product": "acme-cad", "key": server.key("team-a") })).await;
    assert_eq!(by_key["code"], "UNKNOWN_KEY");
}

#[tokio::test]
async fn a_grant_with_a_typing_error_keeps_its_seats_over_a_restart_and_gets_no_new_ones() {
    let server = Server::start();
    let seat = server.checkout("team-a", &[]).await;
    let typo =
        MANIFESTS.replacen("{poolRef: {name: cad}, tier: pro}", "{poolRef: {name: cad}, tier: prp}", 1);
    assert_ne!(typo, MANIFESTS);
    fs::write(server.manifests().join("all.yaml"), typo).unwrap();
    let server = server.kill_and_restart();
    let problems = server.status()["problems"].to_string();
    assert!(problems.contains("the pool has no tier prp"), "{problems}");
    assert_eq!(server.renew(&seat).await["verdict"], "AUTHORIZED");
    assert_eq!(server.checkout("team-a", &[]).await["code"], "SUSPENDED");
    assert_eq!(server.checkout("team-b", &[]).await["verdict"], "AUTHORIZED");
}

#[tokio::test]
async fn nothing_to_serve_is_an_error_that_names_the_problems() {
    let folder = tempfile::TempDir::new().unwrap();
    fs::create_dir(folder.path().join("manifests")).unwrap();
    fs::write(
        folder.path().join("manifests/pool.yaml"),
        "apiVersion: genie-lm.io/v1alpha1\nkind: LicensePol\n",
    )
    .unwrap();
    let output = command(folder.path(), "127.0.0.1:0").output().unwrap();
    assert_eq!(output.status.code(), Some(6));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("pool.yaml:") && message.contains("LicensePol"), "{message}");
}
