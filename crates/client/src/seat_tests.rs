//! The rules of a held seat, one sentence each.

use genie_proto::v1::Verdict;

use super::*;

const JITTER: Jitter = Jitter::fixed(1.0);

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(seconds: u64) -> BootInstant {
    BootInstant::from_boot(s(seconds))
}

/// A seat checked out at 0, valid for 60 s, to be renewed at 20 s.
fn seat() -> Seat {
    let client = Client { user: "ada".into(), ..Client::default() };
    Seat::new("token-0".into(), at(0), s(60), s(20), client, JITTER)
}

fn wire(seconds: u64) -> Option<pbjson_types::Duration> {
    Some(pbjson_types::Duration { seconds: seconds as i64, nanos: 0 })
}

fn renewed(valid_for: u64) -> Result<RenewResponse, Transport> {
    Ok(RenewResponse {
        verdict: Verdict::Authorized.into(),
        code: Code::Ok.into(),
        session: "token-1".into(),
        valid_for: wire(valid_for),
        renew_after: wire(valid_for / 3),
        ..RenewResponse::default()
    })
}

fn denied(code: Code, retryable: bool) -> Result<RenewResponse, Transport> {
    Ok(RenewResponse {
        verdict: Verdict::Denied.into(),
        code: code.into(),
        message: "no".into(),
        retryable,
        ..RenewResponse::default()
    })
}

fn silence() -> Result<RenewResponse, Transport> {
    Err(Transport::NoAnswer { server: "https://x".into(), after: s(5) })
}

/// The renewal that must be sent at this moment.
fn sent(seat: &mut Seat, now: BootInstant, operation: &str) -> RenewRequest {
    match seat.step(now, || operation.to_owned()) {
        Step::Send(request) => request,
        other => panic!("expected a renewal, got {other:?}"),
    }
}

fn over(seat: &mut Seat, now: BootInstant) -> Loss {
    match seat.step(now, || "none".into()) {
        Step::Over(loss) => loss,
        other => panic!("expected the end, got {other:?}"),
    }
}

#[test]
fn a_seat_waits_until_it_is_to_be_renewed_and_then_presents_its_token() {
    let mut seat = seat();
    assert_eq!(seat.step(at(0), || unreachable!()), Step::Wait(at(20)));
    let request = sent(&mut seat, at(20), "op-1");
    assert_eq!((request.session.as_str(), request.operation_id.as_str()), ("token-0", "op-1"));
    seat.answered(at(21), renewed(60), JITTER);
    assert_eq!(seat.state(at(21)), State::Valid { until: at(80) });
    assert_eq!(seat.step(at(21), || unreachable!()), Step::Wait(at(40)));
    assert_eq!(sent(&mut seat, at(40), "op-2").session, "token-1");
}

#[test]
fn validity_counts_from_the_first_send_and_not_from_the_answer() {
    let mut seat = seat();
    sent(&mut seat, at(20), "op-1");
    seat.answered(at(24), renewed(60), JITTER);
    assert_eq!(seat.until(), at(80));
}

#[test]
fn validity_counts_from_the_first_send_also_when_a_retry_is_answered() {
    let mut seat = seat();
    sent(&mut seat, at(20), "op-1");
    seat.answered(at(25), silence(), JITTER);
    sent(&mut seat, at(26), "op-x");
    seat.answered(at(27), renewed(60), JITTER);
    assert_eq!(seat.until(), at(80));
}

#[test]
fn a_retry_is_the_same_operation_with_the_same_token() {
    let mut seat = seat();
    let first = sent(&mut seat, at(20), "op-1");
    seat.answered(at(25), silence(), JITTER);
    assert_eq!(seat.step(at(25), || unreachable!()), Step::Wait(at(25) + Duration::from_millis(250)));
    assert_eq!(sent(&mut seat, at(26), "op-2"), first);
}

#[test]
fn an_answer_with_a_short_remainder_takes_nothing_away() {
    let mut seat = seat();
    sent(&mut seat, at(20), "op-1");
    seat.answered(at(25), silence(), JITTER);
    sent(&mut seat, at(50), "op-1");
    // The server renewed at 20 until 80; its answer to the retry at 50 is what remains.
    seat.answered(at(51), renewed(30), JITTER);
    assert_eq!(seat.state(at(51)), State::Valid { until: at(60) });
    assert!(matches!(seat.step(at(51), || unreachable!()), Step::Wait(next) if next < at(52)));
}

#[test]
fn a_failed_renewal_leaves_the_seat_usable_and_says_why_it_is_cut_off() {
    let mut seat = seat();
    sent(&mut seat, at(20), "op-1");
    seat.answered(at(25), silence(), JITTER);
    let State::CutOff { until, why } = seat.state(at(25)) else { panic!("not cut off") };
    assert_eq!(until, at(60));
    assert!(why.contains("did not answer"), "{why}");
    sent(&mut seat, at(26), "op-1");
    seat.answered(at(26), renewed(60), JITTER);
    assert_eq!(seat.state(at(26)), State::Valid { until: at(80) });
}

#[test]
fn a_seat_that_nobody_renews_runs_out() {
    let mut seat = seat();
    sent(&mut seat, at(20), "op-1");
    seat.answered(at(25), silence(), JITTER);
    assert!(matches!(over(&mut seat, at(60)), Loss::RanOut { why } if why.contains("did not answer")));
}

#[test]
fn a_late_answer_never_revives_a_seat_that_ran_out() {
    let mut seat = seat();
    sent(&mut seat, at(59), "op-1");
    seat.answered(at(60), renewed(60), JITTER);
    assert!(matches!(over(&mut seat, at(60)), Loss::RanOut { .. }));
    assert!(matches!(seat.state(at(60)), State::Lost(Loss::RanOut { .. })));
}

#[test]
fn a_seat_that_ran_out_is_never_renewed() {
    let mut seat = seat();
    assert!(matches!(over(&mut seat, at(60)), Loss::RanOut { .. }));
    assert!(matches!(over(&mut seat, at(1000)), Loss::RanOut { .. }));
}

#[test]
fn a_revoked_seat_is_used_to_its_end_and_not_renewed_again() {
    let mut seat = seat();
    sent(&mut seat, at(20), "op-1");
    seat.answered(at(21), denied(Code::Revoked, false), JITTER);
    assert!(
        matches!(seat.state(at(21)), State::CutOff { until, why } if until == at(60) && why.contains("REVOKED"))
    );
    assert_eq!(seat.step(at(21), || unreachable!()), Step::Wait(at(60)));
    assert!(matches!(over(&mut seat, at(60)), Loss::Refused(denied) if denied.code == Code::Revoked));
}

#[test]
fn a_session_that_the_server_does_not_know_or_another_holds_is_lost_at_once() {
    for code in [Code::SessionExpired, Code::SessionUnknown, Code::CloneDetected] {
        let mut seat = seat();
        sent(&mut seat, at(20), "op-1");
        seat.answered(at(21), denied(code, false), JITTER);
        assert!(matches!(seat.state(at(21)), State::Lost(Loss::Refused(_))));
        assert!(matches!(over(&mut seat, at(21)), Loss::Refused(denied) if denied.code == code));
    }
}

#[test]
fn a_retryable_denial_is_asked_again() {
    let mut seat = seat();
    sent(&mut seat, at(20), "op-1");
    seat.answered(at(21), denied(Code::Recovering, true), JITTER);
    assert_eq!(sent(&mut seat, at(22), "op-2").operation_id, "op-1");
}

#[test]
fn the_servers_wish_for_a_pause_is_kept() {
    let mut seat = seat();
    sent(&mut seat, at(20), "op-1");
    let busy = Transport::Status {
        server: "https://x".into(),
        code: tonic::Code::ResourceExhausted,
        message: "busy".into(),
        retry_after: Some(s(8)),
    };
    seat.answered(at(20), Err(busy), JITTER);
    assert!(matches!(seat.step(at(27), || unreachable!()), Step::Wait(next) if next >= at(28)));
}

#[test]
fn a_server_that_asks_who_this_is_is_told_once() {
    let mut seat = seat();
    assert_eq!(sent(&mut seat, at(20), "op-1").client, None);
    let answer = renewed(60).map(|answer| RenewResponse { want_client: true, ..answer });
    seat.answered(at(20), answer, JITTER);
    let named = sent(&mut seat, at(40), "op-2").client.expect("a client");
    assert_eq!(named.user, "ada");
    seat.answered(at(40), renewed(60), JITTER);
    assert_eq!(sent(&mut seat, at(60), "op-3").client, None);
}

#[test]
fn an_answer_without_durations_gives_nothing_and_does_not_make_a_busy_loop() {
    let mut seat = seat();
    sent(&mut seat, at(20), "op-1");
    let answer = renewed(60).map(|answer| RenewResponse { valid_for: None, renew_after: None, ..answer });
    seat.answered(at(20), answer, JITTER);
    assert_eq!(seat.until(), at(60));
    assert!(matches!(seat.step(at(20), || unreachable!()), Step::Wait(next) if next > at(20)));
}

#[test]
fn a_clone_is_told_what_it_is_and_what_to_do() {
    let mut seat = seat();
    sent(&mut seat, at(20), "op-1");
    seat.answered(at(21), denied(Code::CloneDetected, false), JITTER);
    let loss = over(&mut seat, at(21)).to_string();
    assert!(loss.contains("another copy of this process") && loss.contains("start each copy anew"), "{loss}");
}
