//! `genie-lm status`: what a standalone server serves, and who holds its seats.

use std::path::PathBuf;
use std::time::Duration;

use genie_proto::v1::admin_client::AdminClient;
use genie_proto::v1::{
    GetStatusRequest, GetStatusResponse, LimitStatus, ListSessionsRequest, PoolStatus, SessionStatus, Verdict,
};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::exit::warn;
use super::{Exit, Failure, Output, runtime};

/// The socket is on this machine.
const DEADLINE: Duration = Duration::from_secs(5);
/// Sessions that are listed; a table of more is for another tool.
const MAX_SESSIONS: usize = 10_000;

/// Show what a standalone server serves, and who holds its seats.
///
/// In a cluster, `kubectl get lpool,lgrant` shows pools, grants and how many seats are in use.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The data directory of the server.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Only the pool of this product.
    #[arg(long)]
    product: Option<String>,
}

#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    status: GetStatusResponse,
    sessions: Vec<SessionStatus>,
}

pub(crate) fn run(args: Args, output: Output) -> Result<Exit, Failure> {
    let socket = args.data.join("admin.sock");
    let product = args.product.unwrap_or_default();
    let document = runtime::one_thread(async {
        let mut client = AdminClient::new(channel(socket.clone()).await?);
        let failed = |status: tonic::Status| match status.code() {
            tonic::Code::NotFound => Failure::configuration(status.message()),
            _ => Failure::new(Exit::Unavailable, status.message()),
        };
        let request = GetStatusRequest { product: product.clone() };
        let status = client.get_status(request).await.map_err(failed)?.into_inner();
        let (mut sessions, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListSessionsRequest { product: product.clone(), page_size: 1_000, page_token };
            let page = client.list_sessions(request).await.map_err(failed)?.into_inner();
            sessions.extend(page.sessions);
            page_token = page.next_page_token;
            if page_token.is_empty() || sessions.len() >= MAX_SESSIONS {
                break;
            }
        }
        Ok(Document { status, sessions })
    })?;
    output.write_tables(&document, &tables(&document))?;
    document.status.pools.iter().flat_map(|pool| &pool.warnings).for_each(warn);
    document.status.problems.iter().for_each(warn);
    Ok(Exit::Success)
}

async fn channel(socket: PathBuf) -> Result<Channel, Failure> {
    let shown = socket.display().to_string();
    let connector = service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://genie-lm-admin")
        .connect_timeout(DEADLINE)
        .timeout(DEADLINE)
        .connect_with_connector(connector)
        .await
        .map_err(|_| {
            let message = format!(
                "no server answers on {shown}; is `genie-lm serve` running with this --data directory, as this user?"
            );
            Failure::new(Exit::Unavailable, message)
        })
}

fn tables(document: &Document) -> [Vec<Vec<String>>; 4] {
    let mut pools = vec![row(["PRODUCT", "POOL", "ROLE", "SEATS", "IN-USE", "FREE", "QUEUED", "EXPIRES"])];
    let mut limits = vec![row(["PRODUCT", "LIMIT", "SEATS", "IN-USE"])];
    let mut grants = vec![row(["PRODUCT", "GRANT", "TIER", "VERDICT", "CODE", "EXPIRES"])];
    for pool in &document.status.pools {
        pools.push(pool_row(pool));
        let counted = pool.limits.iter().filter(|limit| limit.name != "seats");
        limits.extend(counted.map(|limit| limit_row(&pool.product, limit)));
        grants.extend(pool.grants.iter().map(|grant| {
            row([
                &pool.product,
                &format!("{}/{}", grant.namespace, grant.name),
                dash(&grant.tier),
                Verdict::try_from(grant.verdict).unwrap_or_default().as_str_name(),
                genie_proto::v1::Code::try_from(grant.code).unwrap_or_default().as_str_name(),
                &time(grant.expire_time.as_ref()),
            ])
        }));
    }
    let mut sessions =
        vec![row(["SESSION", "PRODUCT", "GRANT", "USER", "HOST", "PID", "SEATS", "FEATURES", "SINCE"])];
    sessions.extend(document.sessions.iter().map(session_row));
    [pools, grants, limits, sessions]
}

fn pool_row(pool: &PoolStatus) -> Vec<String> {
    let seats = pool.limits.iter().find(|limit| limit.name == "seats");
    let (cap, used) = seats.map_or((0, 0), |limit| (limit.cap.unwrap_or(0), limit.in_use));
    // What an earlier owner promised counts until recovery is over, whether its holder has come back or not.
    let counted =
        if pool.recovery_left.is_some() { seats.map_or(0, |limit| limit.promised).max(used) } else { used };
    row([
        &pool.product,
        &format!("{}/{}", pool.namespace, pool.pool),
        &pool.role,
        &cap.to_string(),
        &used.to_string(),
        &cap.saturating_sub(counted).to_string(),
        &pool.queued.to_string(),
        &time(pool.expire_time.as_ref()),
    ])
}

fn limit_row(product: &str, limit: &LimitStatus) -> Vec<String> {
    let cap = limit.cap.map_or("-".to_owned(), |cap| cap.to_string());
    row([product, &limit.name, &cap, &limit.in_use.to_string()])
}

fn session_row(session: &SessionStatus) -> Vec<String> {
    let client = session.client.clone().unwrap_or_default();
    let pid = if client.pid == 0 { "-".to_owned() } else { client.pid.to_string() };
    row([
        &session.id,
        &session.product,
        &session.grant,
        dash(&client.user),
        dash(&client.host),
        &pid,
        &session.count.to_string(),
        dash(&session.features.join(",")),
        &time(session.start_time.as_ref()),
    ])
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).into()
}

fn dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn time(time: Option<&genie_proto::Timestamp>) -> String {
    let time = time.and_then(|time| jiff::Timestamp::from_second(time.seconds).ok());
    time.map_or("-".to_owned(), |time| time.to_string())
}
