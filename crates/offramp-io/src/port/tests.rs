// SPDX-License-Identifier: Apache-2.0
//! Ports in memory, whose queues may be in several threads.

use super::*;
use crate::ports;
use crate::ports::options::Given;

fn open(uri: &str) -> Port {
    ports::open(uri, Vec::new()).unwrap()
}

fn null(packets: usize, repeat: &str, queues: usize) -> Port {
    let packets = (0..packets).map(|number| vec![number as u8; 60]).collect();
    let options = [
        ("packets", Given::Packets(packets)),
        ("repeat", Given::Text(repeat.into())),
        ("queues", Given::Text(queues.to_string())),
    ];
    let options = options.map(|(key, value)| (key.to_owned(), value));
    ports::open("null:", options.into()).unwrap()
}

fn packets(look: Result<Look, Error>) -> Burst {
    match look {
        Ok(Look::Packets(burst)) => burst,
        Ok(_) => panic!("no packets"),
        Err(error) => panic!("{error}"),
    }
}

/// A deadline that no test should reach.
fn late() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

#[test]
fn queues_have_their_turn_and_bursts_say_whence_they_come() {
    let port = null(10, "yes", 3);
    let turns: Vec<usize> = (0..6)
        .map(|_| packets(port.receive(None, BURST, None, || false)).queue)
        .collect();
    assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
    let burst = packets(port.receive(Some(1), BURST, None, || false));
    assert_eq!((burst.queue, port.origin(&burst)), (1, Some(1)));
    assert!(burst.time > 0);
    assert_eq!(null(1, "yes", 1).origin(&burst), None);
}

#[test]
fn an_end_is_told_at_once_when_all_queues_have_it() {
    let port = null(300, "no", 2);
    let mut arrived = [0, 0];
    let end = loop {
        match port.receive(None, BURST, Some(late()), || false).unwrap() {
            Look::Packets(burst) => arrived[burst.queue] += burst.len(),
            look => break look,
        }
    };
    assert!(matches!(end, Look::Ended));
    assert_eq!(arrived, [300, 300]);
    assert_eq!(port.ended(1), Some(End::Exhausted));
    assert_eq!(port.discard(late(), || false), Ok(0));
}

#[test]
fn waiting_ends_in_time_and_when_the_caller_wants() {
    let port = null(0, "yes", 1);
    let start = Instant::now();
    let look = port.receive(None, BURST, Some(start + Duration::from_millis(30)), || false);
    assert!(matches!(look, Ok(Look::Nothing)));
    assert!(start.elapsed() >= Duration::from_millis(30));
    let mut asked = 0;
    let look = port.receive(None, BURST, None, || {
        asked += 1;
        asked == 3
    });
    assert!(matches!(look, Ok(Look::Stopped)));
}

#[test]
fn closing_ends_the_wait_of_another_thread() {
    let port = open("loop:port");
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| port.receive(None, BURST, None, || false).err());
        std::thread::sleep(Duration::from_millis(20));
        port.close();
        assert_eq!(reader.join().unwrap(), Some(Error::Closed { forked: false }));
    });
    assert_eq!(
        port.send(0, &[b"x"], Instant::now()),
        Err(Error::Closed { forked: false })
    );
    port.close();
}

#[test]
fn a_reader_sleeps_until_packets_come() {
    let (one, other) = (open("loop:sleeper"), open("loop:sleeper"));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| packets(other.receive(None, BURST, Some(late()), || false)).len());
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(one.send(0, &[b"wake"], Instant::now()), Ok(1));
        assert_eq!(reader.join().unwrap(), 1);
    });
    one.close();
    assert!(matches!(other.receive(None, BURST, None, || false), Ok(Look::Ended)));
}

#[test]
fn what_was_abandoned_belongs_to_the_parent() {
    let port = open("loop:abandoned");
    port.abandon();
    assert_eq!(port.check(), Err(Error::Closed { forked: true }));
    assert!(port.take_events().is_empty());
}

#[test]
fn a_closed_port_still_knows_what_it_counted() {
    let port = null(300, "no", 1);
    let burst = packets(port.receive(None, BURST, None, || false));
    let before = port.counters(0).unwrap();
    port.close();
    port.close();
    drop(burst);
    assert_eq!(port.counters(0), Ok(before));
    assert_eq!(before.received, BURST as u64);
    port.abandon();
    assert_eq!(port.counters(0), Err(Error::Closed { forked: true }));
}

#[test]
fn queues_are_counted_from_0() {
    let port = null(1, "yes", 2);
    assert_eq!((port.queue(0), port.queue(1)), (Ok(0), Ok(1)));
    for queue in [-1, 2, 1 << 40] {
        let error = port.queue(queue).unwrap_err();
        assert_eq!(error.to_string(), format!("queue {queue}: the port has queues 0 to 1"));
    }
}
