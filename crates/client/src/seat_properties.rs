//! What holds of a seat whatever the server, the network and time do (R7, R12), for any sequence of them.

use std::collections::HashMap;

use genie_proto::v1::Verdict;
use proptest::prelude::*;

use super::*;

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    /// Time passes.
    Pass(Duration),
    /// The answer to what was sent last: AUTHORIZED for so long.
    Renewed(Duration),
    /// Another verdict.
    Denied(Code, bool),
    /// No answer.
    Failed(Option<Duration>),
}

fn duration_up_to(seconds: u64) -> impl Strategy<Value = Duration> {
    (0..=seconds * 1000).prop_map(Duration::from_millis)
}

fn event() -> impl Strategy<Value = Event> {
    let code = prop::sample::select(vec![
        Code::Revoked,
        Code::Recovering,
        Code::SessionExpired,
        Code::SessionUnknown,
        Code::CloneDetected,
    ]);
    prop_oneof![
        6 => duration_up_to(15).prop_map(Event::Pass),
        6 => duration_up_to(70).prop_map(Event::Renewed),
        1 => (code, any::<bool>()).prop_map(|(code, retryable)| Event::Denied(code, retryable)),
        4 => prop::option::of(duration_up_to(20)).prop_map(Event::Failed),
    ]
}

/// What an observer of the wire knows.
struct Observer {
    now: BootInstant,
    operations: u32,
    tokens: u32,
    /// The first send of each operation, and the token that it carried.
    sent: HashMap<String, (BootInstant, String)>,
    last: Option<RenewRequest>,
    /// The latest end that an answer, heard in time, gave.
    end: BootInstant,
    lost: bool,
}

impl Observer {
    /// Lets the seat act, and checks what it does.
    fn step(&mut self, seat: &mut Seat) -> Result<(), TestCaseError> {
        let operation = format!("op-{}", self.operations);
        match seat.step(self.now, || operation) {
            Step::Send(request) => {
                prop_assert!(self.now < self.end, "a seat that ran out is renewed");
                prop_assert!(!self.lost, "a lost seat is renewed");
                let token = request.session.clone();
                for (operation, (_, earlier)) in &self.sent {
                    let clone = *earlier == token && *operation != request.operation_id;
                    prop_assert!(!clone, "one token with two operations");
                }
                self.operations += 1;
                self.sent.entry(request.operation_id.clone()).or_insert((self.now, token));
                self.last = Some(request);
            }
            Step::Wait(at) => {
                self.last = None;
                prop_assert!(at > self.now, "a busy loop");
            }
            Step::Over(_) => self.lost = true,
        }
        Ok(())
    }

    fn judge(&mut self, seat: &Seat) -> Result<(), TestCaseError> {
        prop_assert!(
            seat.until() <= self.end,
            "{:?} is later than any answer allows: {:?}",
            seat.until(),
            self.end
        );
        let lost = matches!(seat.state(self.now), State::Lost(_));
        prop_assert!(lost || self.now < self.end, "a seat that ran out is used");
        prop_assert!(lost || !self.lost, "a lost seat is used again");
        self.lost = lost;
        Ok(())
    }

    fn happens(&mut self, seat: &mut Seat, event: Event) {
        let answer = match event {
            Event::Pass(time) => {
                self.now = self.now + time;
                return;
            }
            Event::Renewed(valid_for) => Ok(self.renewed(valid_for)),
            Event::Denied(code, retryable) => Ok(RenewResponse {
                verdict: Verdict::Denied.into(),
                code: code.into(),
                retryable,
                ..RenewResponse::default()
            }),
            Event::Failed(retry_after) => Err(Transport::Status {
                server: "https://x".into(),
                code: tonic::Code::Unavailable,
                message: "no owner".into(),
                retry_after,
            }),
        };
        if self.last.is_some() {
            seat.answered(self.now, answer, Jitter::fixed(0.5));
        }
    }

    fn renewed(&mut self, valid_for: Duration) -> RenewResponse {
        let wire = |duration: Duration| {
            Some(pbjson_types::Duration {
                seconds: duration.as_secs() as i64,
                nanos: duration.subsec_nanos() as i32,
            })
        };
        if let Some((first_sent, _)) = self.last.as_ref().and_then(|last| self.sent.get(&last.operation_id))
            && self.now < self.end
            && !self.lost
        {
            self.end = self.end.max(*first_sent + valid_for);
        }
        self.tokens += 1;
        RenewResponse {
            verdict: Verdict::Authorized.into(),
            code: Code::Ok.into(),
            session: format!("token-{}", self.tokens),
            valid_for: wire(valid_for),
            renew_after: wire(valid_for / 3),
            ..RenewResponse::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_happens_no_seat_is_used_longer_than_the_server_said_or_after_it_was_lost(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let start = BootInstant::from_boot(Duration::from_secs(1000));
        let (valid, renew) = (Duration::from_secs(60), Duration::from_secs(20));
        let mut seat =
            Seat::new("token-0".into(), start, valid, renew, Client::default(), Jitter::fixed(0.5));
        let mut observer = Observer {
            now: start,
            operations: 0,
            tokens: 0,
            sent: HashMap::new(),
            last: None,
            end: start + valid,
            lost: false,
        };
        for event in events {
            observer.step(&mut seat)?;
            observer.judge(&seat)?;
            observer.happens(&mut seat, event);
            observer.judge(&seat)?;
        }
    }
}
