//! How a replica reaches the others: who can take its sessions, and an HTTP service for an address. Over mutual TLS in
//! production.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::transport::{Endpoint, Uri};
use tower::util::BoxCloneSyncService;
use tower::{ServiceExt, service_fn};

use super::tls::PeerTls;

const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// A replica that stands still, or whose packets vanish, answers no ping: its calls are given up after twice this.
const PING: Duration = Duration::from_secs(2);

/// Carries requests to one replica; makes, and makes again, what connections it needs.
pub(crate) type PeerChannel = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, ChannelError>;

/// A request that was not carried.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ChannelError(pub(crate) String);

/// See the module.
pub(crate) trait Connect: Send + Sync + 'static {
    /// A channel to the replica at `address` (`host:port`); nothing is sent yet.
    fn connect(&self, address: &str) -> PeerChannel;

    /// Addresses of replicas that can take this one's sessions as it stops, the best first.
    fn successors(&self) -> Vec<String> {
        Vec::new()
    }
}

/// TCP and mutual TLS.
impl Connect for Arc<PeerTls> {
    fn connect(&self, address: &str) -> PeerChannel {
        let (tls, address): (_, Arc<str>) = (self.clone(), address.into());
        let connector = service_fn(move |_: Uri| {
            let (tls, address) = (tls.clone(), address.clone());
            async move {
                let tcp = TcpStream::connect(&*address).await?;
                tcp.set_nodelay(true)?;
                (*tls).connect(tcp).await.map(TokioIo::new)
            }
        });
        // The connector knows the address; this one is only a name in the request.
        let channel = Endpoint::from_static("http://genie-lm-peer")
            .connect_timeout(CONNECT_DEADLINE)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .connect_with_connector_lazy(connector);
        BoxCloneSyncService::new(channel.map_err(|error| ChannelError(error.to_string())))
    }
}
