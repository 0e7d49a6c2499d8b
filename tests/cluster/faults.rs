//! What befalls servers on a real cluster, each fault on a pool of its own and all at once; then what befalls the store of
//! the cluster, on all pools. Applications hold seats, come and go, and write down what they believe: never more than
//! the caps, nobody loses a seat, and service is back in time.

use std::thread;
use std::time::Duration;

use crate::hands::{Hands, Process};
use crate::judge::Millis;
use crate::kit::{self, Namespace, setting};
use crate::report::{Bounds, Case, Evidence, Report};
use crate::store::Store;
use crate::witness;

/// From now on the pool is full, too: another 24 come and go.
const FLOOD: &str = "comer:draw:24";
/// The pods of the flood start, the store is saved and the faults begin, and after that a takeover has its time.
const FLOOD_AFTER: Millis = 65_000;
const ROOM: Millis = 16_000;
/// Until all of them are there.
const ARRIVAL: Millis = 12_000;
/// What takes longer than promised is seen to.
const LONGER: Millis = 5_000;

/// X: a recovery takes 55 s, far from the 37 s with evidence, and X(1-ρ) is more than the time of a cut.
const HORIZON: Millis = 50_000;
/// Seconds.
const CUT: u32 = 38;
const STOPPED: u32 = 60;

/// A Lease that was left alone for L(1+ρ) = 11 s is taken, and the ledger is fenced.
const TAKEOVER: Millis = 14_000;
/// Of an owner that is known to have ended, or that comes back.
const AT_ONCE: Millis = 5_000;
/// A replica that is silent is left after 3 s, and may be met again.
const ANOTHER_REPLICA: Millis = 9_000;
/// A check-in that did not arrive within its 5 s: the seat runs out, ttl(1+ρ) and what comes after it.
const RUN_OUT: Millis = witness::TTL / 10 * 11 + 10_000;
/// R4 and R6b. After it come the write that ends it, and the Lease's renewal that units wait for (Q).
const RECOVERY: Millis = HORIZON / 10 * 11 + 10_000;
const SHORT_RECOVERY: Millis = witness::TTL / 9 * 11 + 10_000;

struct Fault {
    /// What happens to the owner, and the name of the pool.
    name: &'static str,
    /// Three where one of them is there and does not answer: with two, a client that tries again meets it half the time.
    replicas: u32,
    /// Does it, and gives the moment at which that began.
    act: fn(&Stage<'_>) -> Millis,
    bounds: Bounds,
}

/// What the protocol promises. Nobody loses a seat, but where it says so.
const FAULTS: [Fault; 7] = [
    Fault {
        name: "stopped",
        replicas: 3,
        act: stop,
        bounds: Bounds::new(TAKEOVER, TAKEOVER, TAKEOVER + RECOVERY),
    },
    // It goes on for those who reach it, and another takes over. When it learns of that by a token of the next generation,
    // it sends callers away, since it does not see whom to pass them on to: who meets it again and again may lose.
    Fault {
        name: "cut-from-api",
        replicas: 3,
        act: cut_from_api,
        bounds: Bounds { lost: 2, ..Bounds::new(TAKEOVER, TAKEOVER, TAKEOVER + RECOVERY) },
    },
    // It stays the owner: other replicas reach it.
    Fault {
        name: "cut-from-clients",
        replicas: 3,
        act: cut_from_clients,
        bounds: Bounds::new(ANOTHER_REPLICA, ANOTHER_REPLICA, RUN_OUT),
    },
    // Its process ends, and nobody says so: the Pod that could tell is gone.
    Fault {
        name: "deleted-by-force",
        replicas: 2,
        act: delete_by_force,
        bounds: Bounds::new(TAKEOVER, TAKEOVER, TAKEOVER + RECOVERY),
    },
    // The container that starts again in its Pod is the evidence.
    Fault {
        name: "killed",
        replicas: 2,
        act: kill,
        bounds: Bounds::new(AT_ONCE, AT_ONCE, TAKEOVER + SHORT_RECOVERY),
    },
    // It hands its sessions over (R6a), and nobody waits.
    Fault {
        name: "deleted",
        replicas: 2,
        act: delete,
        bounds: Bounds { checkout_p99: Some(1_000), ..Bounds::new(AT_ONCE, AT_ONCE, AT_ONCE) },
    },
    Fault {
        name: "rolled",
        replicas: 2,
        act: roll,
        bounds: Bounds { checkout_p99: Some(1_000), ..Bounds::new(AT_ONCE, AT_ONCE, AT_ONCE) },
    },
];

/// What befell the store.
struct Phase {
    fault: &'static str,
    begun: Millis,
    end: Millis,
    bounds: Bounds,
}

/// What an act needs.
struct Stage<'a> {
    world: &'a Namespace,
    hands: &'a Hands,
    pool: &'static str,
}

#[test]
fn whatever_happens_to_servers_network_and_store_no_seat_is_one_too_many_and_none_is_lost() {
    // tools/e2e.sh says what is not tested where the cluster is somebody else's.
    let store = Store::ours();
    kit::installed();
    let (world, hands) = (Namespace::new("faults"), Hands::new());
    set_up(&world);
    let flood = hands.now() + FLOOD_AFTER;
    for Fault { name, .. } in &FAULTS {
        world.apply(&witness::pod(&format!("flood-{name}"), name, &format!("{FLOOD}:{flood}")));
    }
    world.kubectl(&["wait", "pod", "-l", "app=witness", "--for=condition=Ready", "--timeout=60s"]);
    let store = store.map(|store| {
        let folder = tempfile::tempdir().unwrap();
        store.save(folder.path().join("snapshot").to_str().unwrap());
        (store, folder)
    });

    let begun = all_at_once(&world, &hands);
    let last = begun.iter().copied().max().unwrap();
    assert!(last + ROOM <= flood, "the machine was too slow: {begun:?}, and the flood begins at {flood}");
    wait_until(&hands, last + TAKEOVER + RECOVERY + LONGER);
    let end_of_faults = hands.now();
    let of_store = store.map_or(Vec::new(), |(store, folder)| {
        let snapshot = folder.path().join("snapshot");
        let restore = || store.restore(snapshot.to_str().unwrap());
        vec![
            befall(&hands, "store restarted", || store.restart(), known_owner),
            befall(&hands, "store restored", restore, set_back),
        ]
    });
    // What was written down before it is in the logs by then.
    kit::pass(Duration::from_secs(2));
    let faults = FAULTS.into_iter().zip(begun).map(|(fault, begun)| {
        let Fault { name, bounds, .. } = fault;
        Case {
            fault: name,
            pool: name,
            begun,
            flood: Some((flood, flood + ARRIVAL)),
            end: end_of_faults,
            bounds,
        }
    });
    judge(&world, faults, &of_store);
}

/// Judges each pool, from its own fault to the end of all.
fn judge<'a>(world: &Namespace, faults: impl Iterator<Item = Case<'a>>, of_store: &[Phase]) {
    let mut report = Report::default();
    for case in faults {
        let records =
            ["witness", "flood"].map(|crowd| witness::testimony(world, &format!("{crowd}-{}", case.pool)));
        let records = records.concat();
        let end = of_store.last().map_or(case.end, |phase| phase.end);
        let evidence = Evidence::new(&world.get(&["lpool", case.pool]), &records, end);
        report.measure(&case, &evidence);
        for &Phase { fault, begun, end, bounds } in of_store {
            report.measure(&Case { fault, begun, flood: None, end, bounds, ..case }, &evidence);
        }
        report.judge(case.pool, &evidence, 2);
    }
    report.conclude();
}

/// Something that befalls the store of all pools, when these are full. While the API server is away, what is promised is
/// given out; `promised` says what is promised after it was away for so long.
fn befall(
    hands: &Hands,
    fault: &'static str,
    act: impl FnOnce(),
    promised: impl FnOnce(Millis) -> Bounds,
) -> Phase {
    let begun = hands.now();
    act();
    let away = hands.now() - begun;
    println!("{fault}: the API server was away for {away} ms");
    let bounds = promised(away);
    wait_until(hands, begun + bounds.whole + LONGER);
    Phase { fault, begun, end: hands.now(), bounds }
}

/// An API server that was away is missed by nobody who wants what is promised, however long that was: who watched the Lease
/// lets its owner come back first. A promise that was just lowered is raised when it is back.
const fn known_owner(away: Millis) -> Bounds {
    Bounds::new(AT_ONCE, AT_ONCE, away + AT_ONCE)
}

/// Nobody owns the ledger that was restored: a takeover after that, and the recovery. Servers that are all new wait for a
/// Lease's time before they take the ledger: with the time of the outage that may be more than the 17 s that a seat has left
/// when its renewal is due.
const fn set_back(away: Millis) -> Bounds {
    let recovered = away + TAKEOVER + RECOVERY;
    Bounds { lost: 2, ..Bounds::new(away + TAKEOVER, recovered, recovered) }
}

/// The pools, and on each a witness whose seats are in use as planned.
fn set_up(world: &Namespace) {
    for Fault { name, replicas, .. } in &FAULTS {
        world.apply(&witness::pool(name, *replicas, HORIZON));
    }
    for Fault { name, .. } in &FAULTS {
        witness::begin(world, name);
    }
    for Fault { name, .. } in &FAULTS {
        witness::settled(world, name);
    }
}

/// Does to each pool what befalls it; gives the moments at which that began. No act waits for another one: where one
/// fails, the others end, and then the test does.
fn all_at_once(world: &Namespace, hands: &Hands) -> Vec<Millis> {
    thread::scope(|scope| {
        let acts = FAULTS.map(|fault| {
            let act = move || (fault.act)(&Stage { world, hands, pool: fault.name });
            thread::Builder::new().name(fault.name.into()).spawn_scoped(scope, act).unwrap()
        });
        acts.map(|act| act.join())
    })
    .into_iter()
    .collect::<Result<_, _>>()
    .expect("every act succeeds")
}

/// Until the clock of the nodes says so: what is measured is a time.
fn wait_until(hands: &Hands, moment: Millis) {
    kit::pass(Duration::from_millis(moment.saturating_sub(hands.now())));
}

impl Stage<'_> {
    fn owner(&self) -> String {
        self.world.owner(self.pool)
    }

    fn to_its_process(&self, script: &str) -> Millis {
        self.hands.act(&Process::of_owner(self.world, self.pool), script)
    }

    /// Something that kubectl does.
    fn by_kubectl(&self, arguments: &[&str]) -> Millis {
        let begun = self.hands.now();
        self.world.kubectl(arguments);
        begun
    }
}

fn stop(stage: &Stage<'_>) -> Millis {
    // The kubelet may have killed it meanwhile, since it does not answer its probe.
    stage.to_its_process(&format!("kill -STOP $p; sleep {STOPPED}; kill -CONT $p || true"))
}

fn cut_from_api(stage: &Stage<'_>) -> Millis {
    let service = kit::get(&["-n", "default", "service", "kubernetes"]);
    let address = service["spec"]["clusterIP"].as_str().unwrap();
    let family = if address.contains(':') { "ip6" } else { "ip" };
    stage.to_its_process(&dropped("output", &format!("{family} daddr {address} drop")))
}

fn cut_from_clients(stage: &Stage<'_>) -> Millis {
    stage.to_its_process(&dropped("input", "tcp dport 1453 drop"))
}

/// A rule in the network of the process, for a while.
fn dropped(hook: &str, rule: &str) -> String {
    format!(
        "net nft 'add table inet fault; add chain inet fault here {{ type filter hook {hook} priority 0; }}; \
         add rule inet fault here {rule}' && sleep {CUT} && net nft delete table inet fault"
    )
}

fn delete_by_force(stage: &Stage<'_>) -> Millis {
    stage.by_kubectl(&["delete", "pod", &stage.owner(), "--grace-period=0", "--force"])
}

/// As the kernel's OOM killer does.
fn kill(stage: &Stage<'_>) -> Millis {
    stage.to_its_process("kill -9 $p")
}

fn delete(stage: &Stage<'_>) -> Millis {
    stage.by_kubectl(&["delete", "pod", &stage.owner(), "--wait=false"])
}

fn roll(stage: &Stage<'_>) -> Millis {
    let patch = format!(r#"{{"spec":{{"server":{{"image":"{}"}}}}}}"#, setting("GENIE_LM_IMAGE_NEXT"));
    stage.by_kubectl(&["patch", "lpool", stage.pool, "--type=merge", "-p", &patch])
}
