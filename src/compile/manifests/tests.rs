//! Behavior of reading and compiling a directory, in literal YAML.

use std::fs;

use super::{compile_unlicensed as compile, *};

/// A directory with these files; problems are shown without its path.
struct Dir(tempfile::TempDir);

impl Dir {
    fn with(files: &[(&str, &str)]) -> Self {
        let dir = Self(tempfile::tempdir().expect("a temporary directory"));
        for (name, text) in files {
            dir.write(name, text.as_bytes());
        }
        dir
    }

    fn write(&self, name: &str, text: &[u8]) {
        fs::write(self.0.path().join(name), text).expect("a file");
    }

    fn load(&self) -> Loaded {
        load(&[self.0.path()])
    }

    fn problems(&self) -> Vec<String> {
        let prefix = format!("{}/", self.0.path().display());
        let all = compile(&self.load(), |_| None).problems;
        all.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect()
    }
}

const POOL: &str = "apiVersion: genie-lm.io/v1alpha1
kind: LicensePool
metadata: {name: acme}
spec: {product: acme-cad, seats: 3}
";

const GRANT: &str = "apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {name: team}
spec: {poolRef: {name: acme}}
";

const BROKEN_YAML: &str = "apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {name: lost
---
apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {name: found}
spec: {poolRef: {name: acme}}
---
kind: LicensePol
apiVersion: genie-lm.io/v1alpha1
---
kind: LicensePool
apiVersion: genie-lm.io/v1
---
just: a map
";

const BROKEN_POOL: &str = "apiVersion: genie-lm.io/v1alpha1
kind: LicensePool
metadata:
  name: Broken_Name
  namespace: a.b
  labels: {number: 1}
spec:
  product: CAD
  seats: 0
  seat: 4
  sesion: {ttl: 60s}
  features:
  - name: draw
  - name: draw
    notAfter: tomorrow
  - nane: render
  -
  - fly
  session:
    ttl: 1d
  suspend: 'yes'
  availability: {outageTolerance: 60}
  tiers:
  deletion:
  allowedNamespaces: {from: Some}
  server:
    replicas: 1.5
    logLevel: loud
    service: {type: Headless}
    hostnames: license.example
    resources: {limits: {cpu: 1, memory: lots}}
    group: 9lives
";

const BROKEN_GRANTS: &str = "apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {name: nowhere}
spec:
  seats: {max: 1}
  poolRef: {name: other}
---
apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {name: wishful}
spec:
  poolRef: {name: acme}
  features:
  - fly
---
apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {name: stranger, namespace: elsewhere}
spec:
  poolRef: {name: acme, namespace: default}
---
apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {name: keyless}
spec:
  poolRef: {name: acme}
  subjects:
  - kind: ActivationKey
    keySecretRef: {name: no-key}
---
apiVersion: v1
kind: Secret
metadata: {name: no-key}
data: {key: 'SECRET-IN-THE-CLEAR'}
---
apiVersion: v1
kind: Secret
metadata: {name: no-key}
stringData: {key: SECRET-IN-THE-CLEAR}
---
apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {name: late}
spec:
  poolRef: {name: acme}
  validity:
    gracePeriod: 1h
";

#[test]
fn what_kubectl_writes_down_without_a_cluster_is_read_as_it_is() {
    let secret = "apiVersion: v1
data: {license: eA==}
kind: Secret
metadata:
  creationTimestamp: null
  name: acme
";
    assert_eq!(Dir::with(&[("pool.yaml", POOL), ("secret.yaml", secret)]).problems(), <[&str; 0]>::default());
}

#[test]
fn a_directory_of_broken_manifests_gets_every_problem_with_its_line() {
    let dir = Dir::with(&[
        ("a-pool.yaml", POOL),
        ("broken.yaml", BROKEN_YAML),
        ("grants.yaml", BROKEN_GRANTS),
        ("pool.yaml", BROKEN_POOL),
        ("pool-again.yaml", POOL),
        ("notes.txt", "this is no manifest, and not read"),
        (".hidden.yaml", "nor is: this"),
    ]);
    dir.write("binary.yaml", b"\xff\xfe\x00");
    let problems = dir.problems();
    assert!(!problems.iter().any(|problem| problem.contains("SECRET-IN-THE-CLEAR")), "{problems:?}");
    insta::assert_snapshot!(problems.join("\n"));
}

#[test]
fn what_is_whole_is_served_beside_what_is_broken() {
    let dir = Dir::with(&[("a.yaml", POOL), ("b.yaml", BROKEN_YAML), ("c.yaml", BROKEN_POOL)]);
    let all = compile(&dir.load(), |_| None);
    let plan = all.pools[0].compiled.plan.as_ref().expect("the whole pool");
    let grants: Vec<&str> = plan.grants.iter().map(|grant| grant.name.as_str()).collect();
    assert_eq!((all.pools.len(), grants), (1, vec!["found"]));
}

#[test]
fn grants_of_a_pool_that_cannot_be_read_wait_for_it_to_be_repaired() {
    let pool = POOL.replace("seats: 3", "seats: many");
    let problems = Dir::with(&[("grant.yaml", GRANT), ("pool.yaml", &pool)]).problems();
    let expected = [
        "grant.yaml:4: LicensePool default/acme is not accepted itself: repair it first",
        "pool.yaml:4: spec.seats must be a whole number from 1 to 1000000",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn keys_come_from_secrets_or_from_whoever_makes_them() {
    let key = genie_client::ActivationKey::generate().expect("random bits");
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: mine}}\nstringData: {{key: {}}}\n",
        key.as_str()
    );
    let own = GRANT
        .replace("team", "own")
        .replace("acme}", "acme}, subjects: [{kind: ActivationKey, keySecretRef: {name: mine}}]");
    let dir = Dir::with(&[("1.yaml", POOL), ("2.yaml", GRANT), ("3.yaml", &own), ("4.yaml", &secret)]);
    let made = crate::api::PlanKey { sha256: "0".repeat(64) };
    let all = compile(&dir.load(), |name| (name.name == "team").then(|| made.clone()));
    assert_eq!(all.problems, []);
    let plan = all.pools[0].compiled.plan.as_ref().expect("a plan");
    let keys: Vec<_> = plan.grants.iter().map(|grant| (grant.name.as_str(), grant.keys[0].clone())).collect();
    assert_eq!(keys, [("own", crate::compile::hash(&key)), ("team", made)]);
}

#[test]
fn a_namespace_brings_the_labels_that_a_pool_selects_by() {
    let pool = POOL.replace(
        "seats: 3",
        "seats: 3, allowedNamespaces: {from: Selector, selector: {matchLabels: {cad: 'true'}}}",
    );
    let grant = GRANT
        .replace("name: team", "name: team, namespace: studio")
        .replace("acme}", "acme, namespace: default}");
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: studio, labels: {cad: 'true'}}\n";
    let dir = Dir::with(&[("grant.yaml", &grant), ("pool.yaml", &pool)]);
    assert_eq!(dir.problems().len(), 1, "{:?}", dir.problems());
    dir.write("namespace.yaml", namespace.as_bytes());
    assert_eq!(dir.problems(), Vec::<String>::new());
}

#[test]
fn every_input_has_a_bound() {
    let dir = Dir::with(&[("pool.yaml", POOL)]);
    dir.write("large.yaml", &vec![b'#'; MAX_FILE_BYTES as usize + 1]);
    dir.write("many.yaml", "---\na: 1\n".repeat(MAX_DOCUMENTS).as_bytes());
    for n in 0..MAX_FILES {
        dir.write(&format!("z{n:04}.yaml"), b"# empty\n");
    }
    let loaded = dir.load();
    let has = |words: &str| loaded.problems.iter().any(|problem| problem.message.contains(words));
    assert!(has("is too large") && has("more than 1000 files"), "{:?}", loaded.problems.first());
    assert!(has("more problems: repair these first"));
    assert_eq!(loaded.problems.len(), MAX_PROBLEMS + 1);
}

#[test]
fn a_path_without_manifests_is_a_problem() {
    let dir = Dir::with(&[("readme.md", "nothing")]);
    assert_eq!(
        dir.load().problems[0].message,
        "there is no file here whose name ends with .yaml, .yml or .json"
    );
    let empty = Dir::with(&[("empty.yaml", "# later\n---\n")]);
    assert_eq!(
        empty.load().problems[0].message,
        "there is no object here: write a LicensePool and a LicenseGrant"
    );
    let missing = load(&[dir.0.path().join("missing")]);
    assert!(missing.problems[0].message.starts_with("cannot be read: "), "{:?}", missing.problems);
}

#[test]
fn the_examples_are_clean() {
    for example in ["quickstart", "groups"] {
        let loaded = load(&[Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(example)]);
        let all = compile(&loaded, |_| None);
        assert_eq!(all.problems, [], "{example}");
        assert!(all.pools.iter().all(|pool| pool.compiled.plan.is_ok()), "{example}");
    }
}
