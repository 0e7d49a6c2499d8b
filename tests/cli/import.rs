//! `genie-lm import`: files of an old license server, their manifests served, and a seat of an imported feature.

use std::{fs, process::Stdio};

use tempfile::TempDir;

use crate::harness::{Running, code, finish, program, until};

/// Latin-1, line ends of Windows, and a year that is far away.
const LICENSE: &[u8] = b"SERVER lic01 0011AA22BB33 27000\r\nVENDOR acmed\r\n\
    increment DRAW_2D acmed 3.0 31-dec-2190 1 \\\r\n\tNOTICE=\"Zeichenb\xFCro\" SIGN=00AA\r\n\
    INCREMENT mesh acmed 1.0 permanent 2 HOSTID=0011AA22BB33\r\n";

fn folder() -> TempDir {
    let dir = TempDir::new().expect("a directory");
    fs::create_dir(dir.path().join("manifests")).expect("a directory");
    fs::write(dir.path().join("acmed.lic"), LICENSE).expect("a file");
    dir
}

#[test]
fn an_imported_file_passes_the_check_is_served_and_its_features_are_counted() {
    let dir = folder();
    let manifests = dir.path().join("manifests");
    let mut import = program();
    import.args(["import", "flexnet"]).arg(dir.path().join("acmed.lic"));
    let imported = finish(import.arg("--out").arg(manifests.join("acmed.yaml")));
    let told = String::from_utf8_lossy(&imported.stderr).into_owned();
    assert_eq!(imported.status.code(), Some(1), "{told}");
    assert!(imported.stdout.is_empty());
    assert!(told.contains("acmed.lic:5: not carried over: HOSTID=0011AA22BB33 of mesh: "), "{told}");
    assert!(told.contains("acmed.lic:3: note: NOTICE=Zeichenb\u{FC}ro is kept in a comment"), "{told}");
    assert_eq!(code(program().arg("check").arg(&manifests)), Some(0));

    let mut serve = program();
    serve.arg("serve").arg("--manifests").arg(&manifests).arg("--data").arg(dir.path().join("data"));
    let server = Running::start(serve.args(["--listen", "127.0.0.1:0"]), &dir.path().join("server.out"));
    until("the server serves", || server.stdout().contains("serving"));
    let binding = dir.path().join("data/bindings/default/acmed");
    let mut holder = program();
    holder
        .args(["checkout", "--feature", "draw-2d", "--app-version", "3.0", "-o", "json", "--binding"])
        .arg(&binding);
    let holder = Running::start(&mut holder, &dir.path().join("holder.out"));
    until("it has the seat", || holder.stdout().contains("AUTHORIZED"));
    let ask = |feature: &str| {
        let mut client = program();
        client.args(["checkout", "--hold", "0s", "--app-version", "1.0", "--feature", feature, "--binding"]);
        code(client.arg(&binding))
    };
    assert_eq!(ask("draw-2d"), Some(3), "its one seat is held");
    assert_eq!(ask("mesh"), Some(0), "the pool has seats for the other feature");
}

#[test]
fn findings_are_json_for_programs_and_the_manifests_stay_yaml() {
    let dir = folder();
    let mut import = program();
    import.args(["import", "flexnet", "-", "-o", "json", "--product", "cad", "--name", "office"]);
    let file = fs::File::open(dir.path().join("acmed.lic")).expect("a file");
    let output = finish(import.stdin(Stdio::from(file)));
    let findings: serde_json::Value = serde_json::from_slice(&output.stderr).expect("JSON");
    let findings = findings["findings"].as_array().expect("a list");
    let lost = findings.iter().find(|finding| finding["line"] == 5 && finding["carriedOver"] == false);
    assert!(lost.expect("a finding")["meanwhile"].is_string());
    let manifests = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(manifests.starts_with("---\n# draw-2d: 1 seat until 2190-12-31"), "{manifests}");
    assert!(manifests.contains("  name: office\n") && manifests.contains("  product: cad\n"), "{manifests}");
}

#[test]
fn a_file_without_a_license_is_6_and_a_wrong_name_2() {
    let dir = folder();
    let empty = dir.path().join("empty.lic");
    fs::write(&empty, "INCREMENT a v 1.0 1-jan-2020 3\n").expect("a file");
    let output = finish(program().args(["import", "flexnet"]).arg(&empty));
    assert_eq!(output.status.code(), Some(6));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("a ended on 2020-01-01") && told.contains("nothing was written"), "{told}");
    assert_eq!(code(program().args(["import", "rlm", "/no/such/file"])), Some(6));
    assert_eq!(code(program().args(["import", "rlm", "--name", "No", "x"])), Some(2));
}

#[test]
fn the_use_of_the_old_server_is_a_table_with_the_seats_that_it_needs() {
    let dir = folder();
    let log = dir.path().join("lmstat.txt");
    fs::write(&log, "Users of Draw:  (Total of 9 licenses issued;  Total of 5 licenses in use)\n")
        .expect("a file");
    let output = finish(program().args(["import", "lmstat"]).arg(&log));
    assert_eq!(output.status.code(), Some(0));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let row = table.lines().find(|row| row.starts_with("Draw")).expect("a row");
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["Draw", "9", "5", "0", "0", "0", "5", "6"]);
    assert_eq!(code(program().args(["import", "lmstat"]).arg(dir.path().join("acmed.lic"))), Some(6));
}
