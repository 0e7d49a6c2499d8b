//! Where a configuration is found, in sentences.

use std::{fs, path::Path};

use tempfile::TempDir;

use super::*;
use crate::{key::ActivationKey, testing};

fn binding(root: &Path, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let dir = root.join(name);
    fs::create_dir_all(&dir).expect("a directory");
    for (file, text) in files {
        fs::write(dir.join(file), text).expect("a file");
    }
    dir
}

fn acme(root: &Path, name: &str, product: &str) -> PathBuf {
    let key = ActivationKey::generate().expect("a random source").to_string();
    let files = [
        ("type", "genie-lm\n"),
        ("provider", "genie-lm"),
        ("uri", "https://127.0.0.1:9001\n"),
        ("product", product),
        ("key", &key),
        ("ca.crt", testing::ca_pem()),
    ];
    binding(root, name, &files)
}

fn env<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    |name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
}

fn problem(given: Given, variables: &[(&str, &str)]) -> String {
    Config::discover_in(given, env(variables)).expect_err("must not be found").to_string()
}

#[test]
fn the_only_binding_of_type_genie_lm_is_found_among_others() {
    let root = TempDir::new().expect("a directory");
    acme(root.path(), "license", "acme-cad");
    binding(root.path(), "db", &[("type", "postgresql"), ("uri", "postgres://db")]);
    fs::create_dir(root.path().join("..data")).expect("a directory");
    let root = root.path().to_str().expect("UTF-8");
    let variables = [("SERVICE_BINDING_ROOT", root), ("GENIE_LM_URI", "https://elsewhere:1")];
    let config = Config::discover_in(Given::default(), env(&variables)).expect("a configuration");
    assert_eq!(config.server.to_string(), "https://127.0.0.1:9001");
    assert_eq!(config.product, "acme-cad");
    assert!(config.credential.read().expect("a key").starts_with("GLM1-"));
}

#[test]
fn a_binding_without_a_uri_has_host_and_port() {
    let root = TempDir::new().expect("a directory");
    let dir = acme(root.path(), "license", "acme-cad");
    fs::remove_file(dir.join("uri")).expect("removed");
    fs::write(dir.join("host"), "::1").expect("a file");
    fs::write(dir.join("port"), "1453").expect("a file");
    let given = Given { binding: Some(dir), ..Given::default() };
    let config = Config::discover_in(given, env(&[])).expect("a configuration");
    assert_eq!(config.server.to_string(), "https://[::1]:1453");
}

#[test]
fn of_several_bindings_the_product_picks_one_and_without_it_all_are_named() {
    let root = TempDir::new().expect("a directory");
    acme(root.path(), "cad", "acme-cad");
    acme(root.path(), "sim", "acme-sim");
    let variables = [("SERVICE_BINDING_ROOT", root.path().to_str().expect("UTF-8"))];
    let message = problem(Given::default(), &variables);
    assert!(message.contains("cad (product acme-cad), sim (product acme-sim)"), "{message}");
    assert!(message.contains("--product"), "{message}");
    let given = || Given { product: Some("acme-sim".into()), ..Given::default() };
    let config = Config::discover_in(given(), env(&variables)).expect("a configuration");
    assert_eq!(config.product, "acme-sim");
    let by_variable = [variables[0], ("GENIE_LM_PRODUCT", "acme-cad")];
    assert_eq!(Config::discover_in(Given::default(), env(&by_variable)).expect("found").product, "acme-cad");
}

#[test]
fn several_bindings_of_one_product_are_told_apart_by_their_directory_alone() {
    let root = TempDir::new().expect("a directory");
    acme(root.path(), "one", "acme-cad");
    let two = acme(root.path(), "two", "acme-cad");
    let variables = [("SERVICE_BINDING_ROOT", root.path().to_str().expect("UTF-8"))];
    for product in [None, Some("acme-cad".to_owned())] {
        let message = problem(Given { product, ..Given::default() }, &variables);
        assert!(message.contains("--binding") && !message.contains("--product"), "{message}");
    }
    let given = Given { binding: Some(two), ..Given::default() };
    assert_eq!(Config::discover_in(given, env(&variables)).expect("a configuration").product, "acme-cad");
}

#[test]
fn without_a_binding_the_environment_says_everything() {
    let dir = TempDir::new().expect("a directory");
    let ca = dir.path().join("ca.crt");
    fs::write(&ca, testing::ca_pem()).expect("a file");
    let variables = [
        ("GENIE_LM_URI", "https://licenses.example"),
        ("GENIE_LM_PRODUCT", "acme-cad"),
        ("GENIE_LM_KEY", "a-token"),
        ("GENIE_LM_CA_FILE", ca.to_str().expect("UTF-8")),
    ];
    let config = Config::discover_in(Given::default(), env(&variables)).expect("a configuration");
    assert_eq!(config.server.to_string(), "https://licenses.example:1453");
    assert_eq!(config.credential.read().expect("a token"), "a-token");
}

#[test]
fn what_the_caller_gives_comes_first() {
    let root = TempDir::new().expect("a directory");
    let dir = acme(root.path(), "license", "acme-cad");
    let given = Given {
        uri: Some("https://[::1]".into()),
        binding: Some(dir),
        product: Some("other".into()),
        ..Given::default()
    };
    let config = Config::discover_in(given, env(&[])).expect("a configuration");
    assert_eq!(
        (config.server.to_string().as_str(), config.product.as_str()),
        ("https://[::1]:1453", "other")
    );
}

#[test]
fn a_token_file_is_read_anew_at_each_use() {
    let root = TempDir::new().expect("a directory");
    let dir = acme(root.path(), "license", "acme-cad");
    fs::remove_file(dir.join("key")).expect("removed");
    let token = root.path().join("token");
    fs::write(&token, "first").expect("a file");
    let variables = [("GENIE_LM_TOKEN_FILE", token.to_str().expect("UTF-8"))];
    let given = Given { binding: Some(dir), ..Given::default() };
    let config = Config::discover_in(given, env(&variables)).expect("a configuration");
    assert_eq!(config.credential.read().expect("a token"), "first");
    fs::write(&token, "second").expect("a file");
    assert_eq!(config.credential.read().expect("a token"), "second");
}

#[test]
fn an_error_says_what_was_looked_for_where_and_what_to_do() {
    let message = problem(Given::default(), &[]);
    for part in
        ["license server", "--uri", "SERVICE_BINDING_ROOT is not set", "GENIE_LM_URI", "https://HOST:PORT"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    let all = "the license server, the product, the activation key and the CA of the license server are not configured";
    assert!(message.starts_with(all) && message.contains("Give --binding DIR"), "{message}");
    let root = TempDir::new().expect("a directory");
    let dir = acme(root.path(), "license", "acme-cad");
    fs::remove_file(dir.join("product")).expect("removed");
    let message = problem(Given { binding: Some(dir.clone()), ..Given::default() }, &[]);
    let expected = format!(
        "the product is not configured: looked for --product, then the Service Binding {}, then GENIE_LM_PRODUCT. \
         Set GENIE_LM_PRODUCT",
        dir.display()
    );
    assert_eq!(message, expected);
    let root = TempDir::new().expect("a directory");
    let at = root.path().to_str().expect("UTF-8");
    let message = problem(Given::default(), &[("SERVICE_BINDING_ROOT", at)]);
    assert!(message.contains(&format!("under {at} (there is none)")), "{message}");
    let message = problem(Given::default(), &[("SERVICE_BINDING_ROOT", "/nowhere-at-all")]);
    assert!(message.contains("/nowhere-at-all"), "{message}");
}

#[test]
fn a_wrong_binding_directory_says_what_it_lacks() {
    let root = TempDir::new().expect("a directory");
    let given = |dir: PathBuf| Given { binding: Some(dir), ..Given::default() };
    assert!(problem(given(root.path().into()), &[]).contains("no file named type"));
    let db = binding(root.path(), "db", &[("type", "postgresql")]);
    assert!(problem(given(db), &[]).contains("postgresql"));
}

#[test]
fn files_that_are_too_large_or_no_text_are_refused() {
    let root = TempDir::new().expect("a directory");
    let dir = acme(root.path(), "license", "acme-cad");
    let given = || Given { binding: Some(dir.clone()), ..Given::default() };
    fs::write(dir.join("key"), vec![b'x'; 20_000]).expect("a file");
    assert!(problem(given(), &[]).contains("larger than"));
    fs::write(dir.join("key"), [0xFF, 0xFE]).expect("a file");
    assert!(problem(given(), &[]).contains("not text"));
    fs::write(dir.join("key"), "\n").expect("a file");
    assert!(problem(given(), &[]).contains("empty"));
}
