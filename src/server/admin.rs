//! `genie.v1.Admin`: what those who operate a server ask it. In standalone mode on a local socket of mode 0600.

use std::sync::Arc;

use genie_ledger::{Role, SessionId};
use genie_proto::v1::{self, admin_server::Admin};
use jiff::Timestamp;
use tonic::{Request, Response, Status};

use super::clock::SharedClock;
use super::directory::Directory;
use super::pool::{Pool, SessionInfo};
use super::words;
use crate::license::{Asked, Nearing, PlanView, Use};

/// Sessions of one page: some 300 kB.
const MAX_PAGE: u32 = 1_000;
const DEFAULT_PAGE: u32 = 100;

/// See the module.
pub(crate) struct AdminService {
    pub(crate) clock: SharedClock,
    pub(crate) directory: Arc<Directory>,
    /// What could not be used of the configuration, one sentence each.
    pub(crate) problems: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let pools = self.pools(&request.get_ref().product)?;
        Ok(Response::new(v1::GetStatusResponse {
            pools: pools.iter().map(|pool| pool_status(pool, &self.clock)).collect(),
            problems: (self.problems)(),
            version: env!("CARGO_PKG_VERSION").into(),
        }))
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        let request = request.into_inner();
        let size = if request.page_size == 0 { DEFAULT_PAGE } else { request.page_size.min(MAX_PAGE) };
        let mut page = Page::parse(&request.page_token)?;
        let (mut sessions, mut next) = (Vec::new(), String::new());
        for pool in self.pools(&request.product)?.iter().skip(page.pool) {
            let room = size as usize - sessions.len();
            let found = pool.sessions(page.after, room + 1);
            let view = pool.view();
            sessions.extend(found.iter().take(room).map(|info| session_status(&view, info)));
            if found.len() > room {
                let after = found.get(room.wrapping_sub(1)).map(|info| info.session).or(page.after);
                next = Page { pool: page.pool, after }.to_string();
                break;
            }
            page = Page { pool: page.pool + 1, after: None };
        }
        Ok(Response::new(v1::ListSessionsResponse { sessions, next_page_token: next }))
    }
}

impl AdminService {
    fn pools(&self, product: &str) -> Result<Vec<Arc<Pool>>, Status> {
        let mut pools = self.directory.pools();
        if !product.is_empty() {
            pools.retain(|pool| *pool.id.product == *product);
            if pools.is_empty() {
                return Err(Status::not_found(format!("no pool of product {product} is served here")));
            }
        }
        Ok(pools)
    }
}

/// Where a listing goes on: the pool's place, and the last session shown.
struct Page {
    pool: usize,
    after: Option<SessionId>,
}

impl Page {
    fn parse(token: &str) -> Result<Self, Status> {
        if token.is_empty() {
            return Ok(Self { pool: 0, after: None });
        }
        let parse = || {
            let (pool, after) = token.split_once('.')?;
            let after = if after.is_empty() { None } else { Some(SessionId(after.parse().ok()?)) };
            Some(Self { pool: pool.parse().ok()?, after })
        };
        parse().ok_or_else(|| Status::invalid_argument("page_token is not one that this server gave"))
    }
}

impl std::fmt::Display for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let after = self.after.map(|session| session.0.to_string()).unwrap_or_default();
        write!(f, "{}.{after}", self.pool)
    }
}

fn pool_status(pool: &Pool, clock: &SharedClock) -> v1::PoolStatus {
    let (view, status) = (pool.view(), pool.status());
    let recovery_left = status.recovery_ends.map(|end| end.since(clock.boot()));
    let role = match status.role {
        Role::Owner if recovery_left.is_some() => "recovering",
        Role::Owner => "owner",
        Role::Candidate => "taking over",
        Role::Follower => "following",
        Role::Leaving | Role::Stopped(_) => "stopped",
    };
    let limit = |limit: &genie_ledger::LimitStatus| v1::LimitStatus {
        name: limit.name.to_string(),
        cap: limit.cap,
        in_use: u32::try_from(limit.in_use).unwrap_or(u32::MAX),
        in_force: limit.in_force.unwrap_or(0),
        promised: limit.promised.unwrap_or(0),
    };
    let grants = grants(&view, clock.wall(), pool.latest_time());
    let mut warnings: Vec<String> = view.pool_warning(clock.wall()).into_iter().collect();
    warnings.extend(grant_warnings(&view, clock.wall()));
    v1::PoolStatus {
        namespace: view.ledger.namespace.to_string(),
        pool: view.plan.pool.clone(),
        product: view.plan.product.clone(),
        role: role.into(),
        generation: status.generation.map_or(0, |generation| generation.0),
        owner: status.owner.map(|owner| owner.address.to_string()).unwrap_or_default(),
        recovery_left: recovery_left.map(words::duration),
        limits: status.limits.iter().map(limit).collect(),
        expire_time: view.plan.validity.not_after.as_ref().map(|time| words::timestamp(time.0)),
        queued: u32::try_from(status.queued).unwrap_or(u32::MAX),
        grants,
        warnings,
    }
}

/// What ends by itself, and not with its pool.
fn grant_warnings(view: &PlanView, now: Timestamp) -> impl Iterator<Item = String> {
    let nearing = move |grant: &crate::license::GrantView| {
        let nearing = Nearing::of_grant(&grant.plan.validity, &view.plan.validity, now)?;
        Some(format!("Grant {}/{} {nearing}: extend it.", grant.plan.namespace, grant.plan.name))
    };
    view.grants().iter().filter_map(nearing)
}

fn grants(view: &PlanView, now: Timestamp, latest: Timestamp) -> Vec<v1::GrantStatus> {
    let status = |grant: &crate::license::GrantView| {
        let judgment = view.judge(grant, Asked::default(), now, Use::Begin);
        let judgment = view.hold_against(judgment, grant, now, latest);
        v1::GrantStatus {
            namespace: grant.plan.namespace.clone(),
            name: grant.plan.name.clone(),
            tier: grant.plan.tier.as_ref().map(ToString::to_string).unwrap_or_default(),
            verdict: judgment.verdict.into(),
            code: judgment.code.into(),
            expire_time: judgment.expires.map(words::timestamp),
        }
    };
    view.grants().iter().map(status).collect()
}

fn session_status(view: &PlanView, info: &SessionInfo) -> v1::SessionStatus {
    let grant = view.grant(info.grant).map(|grant| format!("{}/{}", grant.plan.namespace, grant.plan.name));
    v1::SessionStatus {
        id: info.session.to_string(),
        product: view.plan.product.clone(),
        grant: grant.unwrap_or_default(),
        features: info.meta.features.clone(),
        count: info.count,
        client: info.meta.client.clone(),
        start_time: Some(words::timestamp(info.meta.started)),
        valid_for: Some(words::duration(info.left)),
        adopted: info.meta.adopted,
    }
}
