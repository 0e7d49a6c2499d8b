//! The network between machines: carries HTTP requests and answers in memory, late, twice or not at all, as the weather
//! is; and can be cut, each way by itself. A request that is lost hangs until its caller gives up; a process that
//! ended, or gives no sign of life, is noticed as a connection's end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::{BoxFuture, Either, select};
use genie_client::seams::{ConnectFailure, Dial, Line};
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tonic::body::Body;
use tower::util::BoxCloneSyncService;
use tower::{ServiceExt, service_fn};

use super::super::connect::{ChannelError, Connect, PeerChannel};
use super::machine::Machine;
use super::node::Process;
use super::world::{True, World, lock};

/// How long a caller waits for a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(4);
/// How often it asks for one.
const PING: Duration = Duration::from_secs(1);
/// Requests that are kept, to be sent again by somebody who listened.
const HEARD: usize = 32;

/// A machine on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Party {
    Client(usize),
    Pod(usize),
    Api,
    /// What shows a pod the changes of objects.
    Watches,
}

/// The two ports of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    Clients,
    Peers,
}

/// What a test makes of the next message between replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is handled, and the connection ends before any answer.
    AnswerLost,
    /// It never arrives.
    Hangs,
}

#[derive(Clone)]
struct Message {
    to: usize,
    port: Port,
    parts: http::request::Parts,
    body: Bytes,
}

/// Which ways are cut, and what was overheard.
#[derive(Default)]
pub(crate) struct Roads {
    cuts: BTreeMap<(Party, Party), True>,
    heard: Vec<Message>,
    /// Messages between replicas so far.
    pub(crate) forwarded: u64,
    pub(crate) fates: Vec<Fate>,
}

/// Frames of an answer's body, as they arrive.
type Frames = mpsc::UnboundedReceiver<hyper::body::Frame<Bytes>>;
type Answer = (http::response::Parts, Frames);

impl World {
    /// Nothing passes from one to the other for so long.
    pub(crate) fn cut(&self, from: Party, to: Party, by: Duration) {
        let until = self.now() + by;
        lock(&self.roads).cuts.insert((from, to), until);
        self.note(|| format!("nothing passes from {from:?} to {to:?} until {:.3}", until.as_secs_f64()));
    }

    pub(crate) fn heal(&self) {
        lock(&self.roads).cuts.clear();
    }

    pub(crate) fn blocked(&self, from: Party, to: Party) -> bool {
        let down = [from, to].contains(&Party::Api) && lock(&self.api).down_until > self.now();
        down || lock(&self.roads).cuts.get(&(from, to)).is_some_and(|until| *until > self.now())
    }

    /// How long a message is under way; None: it is lost.
    fn carriage(&self, from: Party, to: Party) -> Option<Duration> {
        let weather = self.weather();
        let slow = self.happens(weather.slow);
        let delay = self.millis(1..if slow { 8_000 } else { 60 });
        (!self.happens(weather.lost) && !self.blocked(from, to)).then_some(delay)
    }

    /// Somebody sends a request again that was sent before, whenever that was.
    pub(crate) fn replay(&self) {
        let heard = lock(&self.roads).heard.clone();
        if heard.is_empty() {
            return;
        }
        let (message, Some(process)) = (self.pick(&heard), self.any()) else { return };
        self.send_again(Message { to: process.pod, ..message });
    }

    /// All that was kept is sent again, to any pod.
    pub(crate) fn replay_all(&self) {
        let (heard, pods) = (lock(&self.roads).heard.clone(), self.pods_there().collect::<Vec<_>>());
        for message in heard {
            self.send_again(Message { to: self.pick(&pods), ..message });
        }
    }

    fn send_again(&self, message: Message) {
        self.note(|| format!("{} to pod {} is sent again", message.parts.uri.path(), message.to));
        let (answer, _) = mpsc::unbounded_channel();
        tokio::spawn(deliver(self.clone(), Party::Client(usize::MAX), message, Duration::ZERO, answer));
    }

    fn overhear(&self, message: &Message) {
        let place = self.below(HEARD as u64) as usize;
        let heard = &mut lock(&self.roads).heard;
        match heard.get_mut(place) {
            Some(old) => *old = message.clone(),
            None => heard.push(message.clone()),
        }
    }

    /// Carries a request, and its answer.
    async fn call(
        self,
        from: Party,
        machine: Machine,
        to: (usize, Port),
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, String> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        machine.awake().await;
        let target = self.process(to.0).ok_or("connection refused")?;
        let message = Message { to: to.0, port: to.1, parts, body };
        let (answer, mut answers) = mpsc::unbounded_channel();
        let fate = self.fate_of(&message);
        let copies = if self.happens(self.weather().doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = self.carriage(from, Party::Pod(to.0));
            if let Some(delay) = delay.filter(|_| fate != Some(Fate::Hangs)) {
                tokio::spawn(deliver(self.clone(), from, message.clone(), delay, answer.clone()));
            }
        }
        let end = self.clone().end_of_line(from, target.clone(), answer);
        let came = select(Box::pin(answers.recv()), Box::pin(end)).await;
        machine.awake().await;
        match came {
            Either::Left((Some(Ok((parts, frames))), _)) if fate.is_none() => {
                let body = self.body(from, machine, target, frames);
                Ok(http::Response::from_parts(parts, body))
            }
            Either::Left((Some(Err(refused)), _)) => Err(refused),
            _ => Err("the connection ended".into()),
        }
    }

    fn fate_of(&self, message: &Message) -> Option<Fate> {
        if message.port == Port::Clients {
            self.overhear(message);
            return None;
        }
        let roads = &mut lock(&self.roads);
        roads.forwarded += 1;
        (!roads.fates.is_empty()).then(|| roads.fates.remove(0))
    }

    /// The body of an answer as its caller sees it: what arrives, until the connection ends.
    fn body(&self, from: Party, machine: Machine, target: Arc<Process>, frames: Frames) -> Body {
        let (world, state) = (self.clone(), (frames, machine, target));
        let frames = futures::stream::unfold(state, move |(mut frames, machine, target)| {
            let world = world.clone();
            async move {
                let end = world.end_of_line(from, target.clone(), ());
                let frame = match select(Box::pin(frames.recv()), Box::pin(end)).await {
                    Either::Left((frame, _)) => frame.map(Ok)?,
                    Either::Right(_) => Err(tonic::Status::unavailable("the connection ended")),
                };
                machine.awake().await;
                Some((frame, (frames, machine, target)))
            }
        });
        Body::new(StreamBody::new(frames.boxed()))
    }

    /// Resolves when the caller can know that nobody is there any more. Keeps `kept` until then.
    async fn end_of_line<T>(self, from: Party, target: Arc<Process>, kept: T) {
        let mut silent = Duration::ZERO;
        let to = Party::Pod(target.pod);
        while silent < SIGN_OF_LIFE {
            sleep(PING).await;
            let cut = self.blocked(from, to) || self.blocked(to, from);
            match target.machine.ended() {
                true if !cut => break,
                _ if cut || target.machine.still() => silent += PING,
                _ => silent = Duration::ZERO,
            }
        }
        drop(kept);
    }
}

/// At the other end: hands the request to the process that is there, and sends back what it answers.
async fn deliver(
    world: World,
    from: Party,
    message: Message,
    delay: Duration,
    answer: mpsc::UnboundedSender<Result<Answer, String>>,
) {
    let to = Party::Pod(message.to);
    sleep(delay).await;
    let Some(process) = world.process(message.to).filter(|_| !world.blocked(from, to)) else { return };
    if process.machine.ended() {
        let _ = answer.send(Err("connection refused".into()));
        return;
    }
    process.machine.awake().await;
    // Of the callers that give up, some are noticed by the server, and what they asked for is dropped.
    let noticed = world.even();
    let request =
        http::Request::from_parts(message.parts, Body::new(http_body_util::Full::new(message.body)));
    let handled = process.routes(message.port).oneshot(request);
    let gone = async {
        match noticed {
            true => answer.closed().await,
            false => std::future::pending().await,
        }
    };
    let Either::Left((Ok(response), _)) = select(handled, Box::pin(gone)).await else { return };
    let (parts, mut body) = response.into_parts();
    let (frames, receiver) = mpsc::unbounded_channel();
    let Some(delay) = world.carriage(to, from) else { return };
    sleep(delay).await;
    if world.blocked(to, from) || answer.send(Ok((parts, receiver))).is_err() {
        return;
    }
    while let Some(Ok(frame)) = body.frame().await {
        sleep(world.millis(0..3)).await;
        if world.blocked(to, from) || frames.send(frame).is_err() {
            // What was sent before has arrived, and the end of it never does.
            std::future::pending().await
        }
    }
}

/// The way of one process to the others.
pub(crate) struct Peering {
    pub(crate) world: World,
    pub(crate) pod: usize,
    pub(crate) machine: Machine,
}

impl Connect for Peering {
    fn connect(&self, address: &str) -> PeerChannel {
        let (world, machine, from) = (self.world.clone(), self.machine.clone(), Party::Pod(self.pod));
        let to = pod_at(address);
        BoxCloneSyncService::new(service_fn(move |request: http::Request<Body>| {
            let call = world.clone().call(from, machine.clone(), (to, Port::Peers), request);
            Box::pin(async move { call.await.map_err(ChannelError) })
                as BoxFuture<'static, Result<http::Response<Body>, ChannelError>>
        }))
    }

    /// All other pods, the newest first; one that has ended may still be taken for one that is ready.
    fn successors(&self) -> Vec<String> {
        let pods: Vec<usize> = lock(&self.world.processes).keys().copied().collect();
        pods.into_iter().rev().filter(|pod| *pod != self.pod).map(address).collect()
    }
}

/// Where the replica of a pod is reached.
pub(crate) fn address(pod: usize) -> String {
    format!("pod-{pod}:1454")
}

fn pod_at(address: &str) -> usize {
    let number = address.strip_prefix("pod-").and_then(|rest| rest.strip_suffix(":1454"));
    number.and_then(|number| number.parse().ok()).expect("an address of this world")
}

/// The way of one client to the servers: each line to the next pod.
pub(crate) struct Dialing {
    pub(crate) world: World,
    pub(crate) client: usize,
    pub(crate) machine: Machine,
    pub(crate) next: AtomicU64,
}

impl Dial for Dialing {
    fn dial(&self) -> Line {
        let (world, machine, from) = (self.world.clone(), self.machine.clone(), Party::Client(self.client));
        let pods: Vec<usize> = lock(&world.processes).keys().copied().collect();
        let next = self.next.fetch_add(1, Ordering::Relaxed) as usize;
        let to = if pods.is_empty() { 0 } else { pods[next % pods.len()] };
        Line::new(service_fn(move |request: http::Request<Body>| {
            let call = world.clone().call(from, machine.clone(), (to, Port::Clients), request);
            Box::pin(async move { call.await.map_err(ConnectFailure) })
                as BoxFuture<'static, Result<http::Response<Body>, ConnectFailure>>
        }))
    }
}
