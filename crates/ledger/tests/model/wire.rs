//! What travels: store requests and their answers, client calls and theirs; each may be lost, late or
//! doubled as far as the budget goes.

use std::sync::Arc;

use genie_ledger::*;

use super::choices::Choices;
use super::config::wall;
use super::world::{Flight, Heard, Message, Way, World};
use crate::support::Call;

/// What becomes of a store request.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Answered,
    Slow,
    NeverDone,
    DoneUnknown,
    MaybeLater,
}

/// What becomes of a client's call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passage {
    There(Heard),
    Late,
    Doubled,
}

impl World {
    /// Does what a driver does after every event: sends all requests, hands out all answers.
    pub fn pump(&mut self, node: usize, choices: &mut Choices) {
        self.tell_wall(node);
        for _ in 0..50 {
            let now = self.clock(node);
            let Some((id, request)) = self.node_mut(node).replica.take_request(now) else {
                return self.hand_out(node);
            };
            self.send(node, id, request, choices);
        }
        self.broken = Some("a replica never stops asking".into());
    }

    pub fn tell_wall(&mut self, node: usize) {
        if self.config.lends() {
            let (now, wall) = (self.clock(node), wall(self.now));
            self.node_mut(node).replica.set_wall_clock(now, wall);
        }
    }

    fn hand_out(&mut self, node: usize) {
        while let Some((ticket, answer)) = self.node_mut(node).replica.take_completion() {
            let n = self.node_mut(node);
            if let Some(at) = n.waiting.iter().position(|(waits, ..)| *waits == ticket) {
                let (_, client, operation, heard) = n.waiting.remove(at);
                self.respond(client, operation, answer, heard);
            }
        }
        if matches!(self.nodes[node].as_ref().map(|n| n.replica.role()), Some(Role::Stopped(_))) {
            self.note(|| format!("  {node} has stopped"));
            self.end(node);
        }
    }

    /// The process is gone, and a fresh one may come in its place.
    pub fn end(&mut self, node: usize) {
        let Some(gone) = self.nodes[node].take() else { return };
        self.ended.push(Nonce(format!("p{}", gone.process).into()));
        self.flights.retain(|flight| flight.node != node || !matches!(flight.way, Way::Answered(_)));
        for flight in self.flights.iter_mut().filter(|flight| flight.node == node) {
            flight.way = Way::Orphan;
        }
        if self.left.processes > 0 {
            self.left.processes -= 1;
            self.start(node);
        }
    }

    fn send(&mut self, node: usize, id: RequestId, request: StoreRequest, choices: &mut Choices) {
        let writes = matches!(request, StoreRequest::WriteLease { .. } | StoreRequest::WriteLedger { .. });
        let mut fates = Vec::with_capacity(5);
        fates.push(if self.nodes[node].as_ref().is_some_and(|n| n.cut) {
            Fate::NeverDone
        } else {
            Fate::Answered
        });
        if self.left.slow > 0 {
            fates.push(Fate::Slow);
        }
        if self.left.lost > 0 {
            if matches!(fates[0], Fate::Answered) {
                fates.push(Fate::NeverDone);
            }
            if writes {
                fates.extend([Fate::DoneUnknown, Fate::MaybeLater]);
            }
        }
        let choice = choices.pick(fates.len());
        let fate = fates[choice];
        self.note(|| format!("  {node} sends {request:?}: {fate:?}"));
        match fate {
            Fate::Slow => self.left.slow -= 1,
            _ if choice > 0 => self.left.lost -= 1,
            _ => {}
        }
        let reply = match fate {
            Fate::Answered => self.carry_out(&request),
            Fate::NeverDone => StoreReply::Unknown,
            Fate::DoneUnknown => {
                self.carry_out(&request);
                StoreReply::Unknown
            }
            Fate::MaybeLater => {
                self.flights.push(Flight { node, id, request, way: Way::Orphan });
                StoreReply::Unknown
            }
            Fate::Slow => return self.flights.push(Flight { node, id, request, way: Way::Sent }),
        };
        let now = self.clock(node);
        self.node_mut(node).replica.reply(now, id, reply);
    }

    fn carry_out(&mut self, request: &StoreRequest) -> StoreReply {
        let before = (self.store.lease.clone(), self.store.ledger.clone());
        let reply = Arc::make_mut(&mut self.store).apply(request);
        if self.left.stale + self.left.setbacks > 0 && matches!(reply, StoreReply::Written { .. }) {
            self.past.remember(before, request);
        }
        if self.config.prompt {
            self.show_ledger();
        }
        reply
    }

    fn show_ledger(&mut self) {
        for node in 0..self.nodes.len() {
            if self.node(node).is_some_and(|n| !n.cut) {
                let (now, ledger) = (self.clock(node), self.store.ledger.clone());
                self.node_mut(node).replica.observe_ledger(now, ledger);
            }
        }
    }

    /// A store request goes one step further.
    pub fn advance(&mut self, at: usize, choices: &mut Choices) {
        let Flight { node, id, request, way } = self.flights[at].clone();
        let (reply, gone) = match way {
            Way::Orphan => {
                self.flights.remove(at);
                self.note(|| format!("late: {request:?}"));
                self.carry_out(&request);
                return;
            }
            Way::Answered(reply) => (*reply, false),
            Way::Sent => {
                let lost = if self.left.lost > 0 { 2 } else { 1 };
                match choices.pick(1 + lost) {
                    0 => (self.carry_out(&request), false),
                    1 => {
                        let reply = self.carry_out(&request);
                        self.note(|| format!("carried out, answer under way: {request:?} {reply:?}"));
                        self.flights[at].way = Way::Answered(Box::new(reply));
                        return;
                    }
                    _ => (StoreReply::Unknown, true),
                }
            }
        };
        self.note(|| format!("{node} hears {reply:?} to {request:?}"));
        if gone {
            self.left.lost -= 1;
            self.flights[at].way = Way::Orphan;
        } else {
            self.flights.remove(at);
        }
        let now = self.clock(node);
        self.node_mut(node).replica.reply(now, id, reply);
        self.pump(node, choices);
    }

    /// A client sends a call to a node.
    pub fn call(&mut self, client: usize, call: Call, node: usize, choices: &mut Choices) {
        let mut ways = vec![Passage::There(Heard::Now)];
        if self.left.net > 0 {
            ways.extend([Passage::There(Heard::Later), Passage::There(Heard::Never)]);
            ways.extend([Passage::Late, Passage::Doubled]);
        }
        let way = choices.of(&ways);
        self.left.net -= u8::from(way != Passage::There(Heard::Now));
        self.note(|| format!("client {client} to {node}: {call:?}, {way:?}"));
        match way {
            Passage::There(heard) => self.arrive(client, call, node, heard, choices),
            Passage::Late => self.messages.push(Message::Call(client, call)),
            Passage::Doubled => {
                self.messages.push(Message::Call(client, call.clone()));
                self.arrive(client, call, node, Heard::Now, choices);
            }
        }
    }

    pub fn arrive(&mut self, client: usize, call: Call, node: usize, heard: Heard, choices: &mut Choices) {
        self.tell_wall(node);
        let now = self.clock(node);
        let replica = &mut self.node_mut(node).replica;
        let outcome = match &call {
            Call::Checkout(request) => replica.checkout(now, request.clone()),
            Call::Renew(claim, operation) => replica.renew(now, claim, *operation, || ()),
            Call::Checkin(claim, operation) => replica.checkin(now, claim, *operation),
            Call::Borrow(request) => replica.borrow(now, request),
            Call::Return(id, generation, _) => replica.give_back_borrowed(now, id, *generation),
        };
        if let (Call::Renew(claim, operation), Outcome::Answer(Answer::Granted { claim: new, .. })) =
            (&call, &outcome)
            && self.config.clones
        {
            self.renewed(new.generation, claim, *operation);
        }
        match outcome {
            Outcome::Answer(answer) => self.respond(client, call.operation(), answer, heard),
            Outcome::Wait(ticket) => {
                self.node_mut(node).waiting.push((ticket, client, call.operation(), heard));
            }
        }
        self.pump(node, choices);
    }

    /// R12: one session, one counter, one operation.
    fn renewed(&mut self, by: Generation, claim: &Claim, operation: OperationId) {
        let renewal = (by, claim.session, claim.counter);
        match self.renewals.iter().find(|(known, _)| *known == renewal) {
            Some((_, first)) if *first != operation => {
                self.broken = Some(format!("{renewal:?} was renewed by {first:?} and by {operation:?}"));
            }
            Some(_) => {}
            None => self.renewals.push((renewal, operation)),
        }
    }

    fn respond(&mut self, client: usize, operation: OperationId, answer: Answer, heard: Heard) {
        self.note(|| format!("  answer to client {client}: {answer:?}, heard {heard:?}"));
        let (now, mutant) = (self.now, self.config.client_mutant);
        match heard {
            Heard::Now => self.clients[client].hear(now, operation, &answer, mutant),
            Heard::Later => self.messages.push(Message::Answer(client, operation, answer)),
            Heard::Never => {}
        }
    }
}
