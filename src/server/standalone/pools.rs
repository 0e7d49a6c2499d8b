//! The pools of a manifest directory, as they are served; and how changed manifests take effect.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures::future::join_all;
use genie_ledger::{Holder, Nonce, Role};
use jiff::{SignedDuration, Timestamp};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::StartError;
use super::data::{DataDir, DataError};
use crate::api::LicensePool;
use crate::compile::manifests::{self, Loaded};
use crate::compile::{self, Licensing, ObjectName};
use crate::license::document::{Place, TrustedKeys, fingerprint};
use crate::license::{LedgerId, PlanView};
use crate::server::admin::AdminService;
use crate::server::pool::Pool;
use crate::server::store::file::{FileStore, FileStoreError};
use crate::server::{MAX_OBSERVATIONS, Served, Service};
use crate::vendor_keys::{self, VendorKeysError};

/// See machine-id(5).
const MACHINE_ID: &str = "/etc/machine-id";
/// How long the first line waits for every pool to be in force.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// What is read, again and again.
pub(super) struct Sources {
    /// Directory of manifests.
    pub(super) manifests: PathBuf,
    /// File of the vendors whose licenses count.
    pub(super) vendor_keys: Option<PathBuf>,
}

/// What was read last that could be used.
#[derive(Default)]
struct Known {
    loaded: Loaded,
    trust: TrustedKeys,
}

/// What follows from it at one moment.
struct Read {
    views: Vec<PlanView>,
    problems: Vec<String>,
    /// What is to be told of licenses.
    findings: Vec<String>,
    next_change: Option<Timestamp>,
}

/// The pools of the manifest directory, as they are served.
pub(super) struct Pools {
    sources: Sources,
    known: Known,
    /// When licenses allow something else by time alone.
    pub(super) next_change: Timestamp,
    /// This machine, as licenses name it.
    fingerprint: Option<String>,
    pub(super) data: DataDir,
    service: Service,
    address: SocketAddr,
    identity: Holder,
    served: BTreeMap<LedgerId, Served>,
    problems: Arc<RwLock<Vec<String>>>,
}

impl Pools {
    pub(super) fn new(
        sources: Sources,
        data: DataDir,
        service: Service,
        address: SocketAddr,
        host: String,
    ) -> Self {
        let identity = Holder {
            nonce: Nonce("".into()),
            pod_uid: "".into(),
            pod_name: "".into(),
            node: host.into(),
            address: address.to_string().into(),
            started: Default::default(),
        };
        Self {
            sources,
            known: Known::default(),
            next_change: Timestamp::MAX,
            fingerprint: std::fs::read_to_string(MACHINE_ID).ok().and_then(|id| fingerprint(&id)),
            data,
            service,
            address,
            identity,
            served: BTreeMap::new(),
            problems: Arc::default(),
        }
    }

    /// Serves what can be served, and reports the rest; nothing at all is an error.
    pub(super) fn start(&mut self) -> Result<(), StartError> {
        let known = self.load()?;
        let read = self.compile(&known)?;
        if read.views.is_empty() {
            let problems = read.problems.iter().map(|problem| format!("\n  {problem}")).collect();
            return Err(StartError::Nothing { path: self.sources.manifests.clone(), problems });
        }
        self.known = known;
        self.next_change = read.next_change.unwrap_or(Timestamp::MAX);
        let told: Vec<String> = read.problems.into_iter().chain(read.findings).collect();
        for problem in &told {
            warn!("{problem}");
        }
        self.note(told);
        for view in read.views {
            self.begin(view)?;
        }
        self.publish();
        Ok(())
    }

    /// Puts changed manifests in force, all or nothing: where one is broken, what was meant by the others is unsure,
    /// and a pool that seems gone may be in the broken file. So everything stays as it is, and the problems are told.
    pub(super) fn reload(&mut self) {
        let known = match self.load() {
            Ok(known) => known,
            Err(error) => {
                return warn!(%error, "the manifests were not read again; everything stays as it is");
            }
        };
        let read = match self.compile(&known) {
            Ok(read) => read,
            Err(error) => {
                return warn!(%error, "the manifests were not read again; everything stays as it is");
            }
        };
        if !read.problems.is_empty() {
            for problem in &read.problems {
                warn!("{problem}");
            }
            warn!("the changed manifests are not in force; everything stays as it is until they are mended");
            return self.note(read.problems);
        }
        self.known = known;
        self.put(read);
        info!(pools = self.served.len(), "manifests read again");
    }

    /// A license began or ended: what was read last says something else now, whatever the files have become.
    pub(super) fn time_passed(&mut self) {
        let known = std::mem::take(&mut self.known);
        match self.compile(&known) {
            Ok(read) => self.put(read),
            Err(error) => {
                warn!(%error, "a license began or ended, and that is not in force; trying again in a minute");
                self.next_change = Timestamp::now() + SignedDuration::from_mins(1);
            }
        }
        self.known = known;
    }

    /// Puts in force what was compiled.
    fn put(&mut self, Read { views, findings, next_change, .. }: Read) {
        self.next_change = next_change.unwrap_or(Timestamp::MAX);
        for finding in &findings {
            warn!("{finding}");
        }
        let gone: Vec<LedgerId> =
            self.served.keys().filter(|id| !views.iter().any(|view| view.ledger == **id)).cloned().collect();
        for id in gone {
            if let Some(served) = self.served.remove(&id) {
                info!(ledger = %id, "no longer served");
                tokio::spawn(served.end());
            }
        }
        for view in views {
            match self.served.get(&view.ledger) {
                Some(served) => served.pool.configure(Arc::new(view)),
                None => {
                    if let Err(error) = self.begin(view) {
                        warn!(%error, "a pool is not served");
                    }
                }
            }
        }
        self.note(findings);
        self.publish();
    }

    fn load(&self) -> Result<Known, VendorKeysError> {
        let trust = vendor_keys::read(self.sources.vendor_keys.as_deref())?;
        Ok(Known { loaded: manifests::load(&[&self.sources.manifests]), trust })
    }

    /// Compiles what was read, for this moment; makes missing keys, and writes the bindings.
    fn compile(&self, Known { loaded, trust }: &Known) -> Result<Read, DataError> {
        let mut keys = BTreeMap::new();
        for grant in &loaded.grants {
            let name = ObjectName::of(&grant.object);
            let key = match compile::key_secret(&grant.object) {
                Some(secret) => compile::brought_key(&grant.object, loaded.secret(&secret)).ok(),
                None => Some(self.data.made_key(&name)?),
            };
            keys.extend(key.map(|key| (name, key)));
        }
        let place = Place::Here { cluster: None, host: self.fingerprint.as_deref() };
        let licensing = Licensing { trust, place, now: Timestamp::now(), cluster_unknown: false };
        let in_force: BTreeMap<&LedgerId, Arc<PlanView>> =
            self.served.iter().map(|(id, served)| (id, served.pool.view())).collect();
        let before = |pool: &LicensePool| {
            let (namespace, product) = (ObjectName::of(pool).namespace, pool.spec.product.as_str());
            let id = LedgerId { namespace: namespace.into(), product: product.into() };
            in_force.get(&id).map(|view| &view.plan)
        };
        let made = |grant: &ObjectName| keys.get(grant).map(compile::hash);
        let compiled = manifests::compile_all(loaded, &licensing, made, before);
        let changes = compiled.pools.iter().filter_map(|pool| pool.compiled.licensed.as_ref()?.next_change());
        let next_change = changes.min();
        let findings = compiled.findings.iter().map(ToString::to_string).collect();
        let mut problems: Vec<String> = compiled.problems.iter().map(ToString::to_string).collect();
        let mut views = Vec::new();
        for pool in compiled.pools {
            for (grant, _) in pool.compiled.accepted() {
                let name = ObjectName { namespace: grant.namespace.clone(), name: grant.name.clone() };
                if let (Some(key), Ok(plan)) = (keys.get(&name), &pool.compiled.plan) {
                    self.data.bind(&name, &plan.product, &self.reach(), key)?;
                }
            }
            let Ok(plan) = pool.compiled.plan else { continue };
            match PlanView::new(&pool.name.namespace, plan) {
                Ok(view) => views.push(view),
                Err(error) => problems.push(error.to_string()),
            }
        }
        Ok(Read { views, problems, findings, next_change })
    }

    /// Where clients of this machine's bindings are sent.
    fn reach(&self) -> (String, u16) {
        let host = match self.address.ip().is_unspecified() {
            true => self.identity.node.to_string(),
            false => self.address.ip().to_string(),
        };
        (host, self.address.port())
    }

    fn begin(&mut self, view: PlanView) -> Result<(), FileStoreError> {
        let id = view.ledger.clone();
        let store = FileStore::open(self.data.path(), &id)?;
        let view = view.with_min_generation(store.generation());
        // The lock on the data directory proves that whoever wrote this record has ended (R6b).
        let previous = store.record().map(|record| record.holder.nonce);
        let (sender, observations) = mpsc::channel(MAX_OBSERVATIONS);
        // Nobody else writes these files: there is nothing to observe.
        drop(sender);
        let prepare = |pool: &Pool| previous.into_iter().for_each(|nonce| pool.previous_ended(nonce));
        let served = self.service.begin(Arc::new(view), &self.identity, store, observations, prepare);
        self.served.insert(id, served);
        Ok(())
    }

    fn publish(&self) {
        self.service.directory.replace(self.served.values().map(|served| served.pool.clone()).collect());
    }

    fn note(&self, problems: Vec<String>) {
        *self.problems.write().expect("no code panics while it holds this lock") = problems;
    }

    /// Waits until every pool is in force, for a bounded time.
    pub(super) async fn settle(&self) {
        let deadline = tokio::time::Instant::now() + START_PATIENCE;
        let settled = || self.served.values().all(|served| served.pool.role() == Role::Owner);
        while !settled() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) fn first_line(&self) -> String {
        let problems = self.problems.read().expect("no code panics while it holds this lock").len();
        let pools = counted(self.served.len(), "pool");
        let note = if problems == 0 {
            String::new()
        } else {
            format!(", {}: see the log", counted(problems, "problem"))
        };
        let bindings = self.data.bindings();
        format!("serving {pools} on {}; bindings in {}{note}\n", self.address, bindings.display())
    }

    pub(super) fn admin(&self) -> AdminService {
        let problems = self.problems.clone();
        let problems = move || problems.read().expect("no code panics while it holds this lock").clone();
        let (clock, directory) = (self.service.licensing.clock.clone(), self.service.directory.clone());
        AdminService { clock, directory, problems: Arc::new(problems) }
    }

    /// The lock on the data directory proves that a socket that is there already is nobody's.
    pub(super) fn admin_listener(&self) -> Result<UnixListener, StartError> {
        let path = self.data.admin_socket();
        let make = || {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(&path)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        };
        make().map_err(|error| StartError::Socket { path: path.clone(), error })
    }

    pub(super) async fn end(mut self) {
        join_all(std::mem::take(&mut self.served).into_values().map(Served::end)).await;
        // Without it, `status` would say that nothing answers at a socket that is there.
        let _ = std::fs::remove_file(self.data.admin_socket());
    }
}

/// "1 pool", "2 pools".
fn counted(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}
