// SPDX-License-Identifier: Apache-2.0
//! `trace+...` writes down each call and the length of each frame, and counts them. A port around any port.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use offramp_ring::Burst;

use super::around::{Around, wrapped};
use super::kind::Wrapper;
use super::options::{Options, Setting};
use super::values::Text;
use crate::error::Error;
use crate::port::Queues;
use crate::port_queue::PortQueue;

pub const WRAPPER: Wrapper = Wrapper {
    name: "trace",
    about: "writes a line for each call and the lengths of its frames to a file, or to standard error",
    options: &[&FILE],
    wrap,
};

const FILE: Setting<Text> = Setting::new(
    "file",
    Text {
        metavar: "PATH",
        default: "standard error",
    },
    "where the lines go",
);

/// What was done so far.
#[derive(Default)]
struct Calls {
    looks: u64,
    /// Looks that found nothing; they get no line.
    empty: u64,
    received: u64,
    accepted: u64,
    errors: u64,
}

/// Where the lines go. Several queues may write to the same one.
pub type Sink = Arc<Mutex<dyn Write + Send>>;

pub struct Tracer {
    queue: usize,
    sink: Sink,
    calls: Calls,
    ended: bool,
}

fn wrap(queues: Queues, options: &Options) -> Result<Queues, Error> {
    let sink: Sink = match options.get(&FILE)? {
        None => Arc::new(Mutex::new(io::stderr())),
        Some(path) => {
            let file = File::create(&path).map_err(|error| Error::System {
                what: format!("writing the trace {path}"),
                errno: error.raw_os_error().unwrap_or(libc::EINVAL),
            })?;
            Arc::new(Mutex::new(BufWriter::new(file)))
        }
    };
    Ok(wrapped(queues, |queue| Tracer::new(queue, Arc::clone(&sink))))
}

impl Tracer {
    pub fn new(queue: usize, sink: Sink) -> Self {
        Self {
            queue,
            sink,
            calls: Calls::default(),
            ended: false,
        }
    }

    /// Writes a line. If it cannot be written, it is lost, and the port goes on.
    fn tell(&self, what: &str, lengths: impl Iterator<Item = usize>) {
        let mut line = format!("queue {} {what}", self.queue);
        for length in lengths {
            let _ = write!(line, " {length}");
        }
        line.push('\n');
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = sink.write_all(line.as_bytes());
    }

    fn accepted(&mut self, call: &str, lengths: &[usize], result: &Result<usize, Error>) {
        match result {
            Ok(accepted) => {
                self.calls.accepted += *accepted as u64;
                let what = format!("{call} {accepted}/{}:", lengths.len());
                self.tell(&what, lengths.iter().copied().take(*accepted));
            }
            Err(error) => self.failed(call, error),
        }
    }

    fn failed(&mut self, call: &str, error: &Error) {
        self.calls.errors += 1;
        self.tell(&format!("{call}: error: {error}"), std::iter::empty());
    }
}

impl Around for Tracer {
    const NAME: &'static str = WRAPPER.name;

    fn receive(&mut self, queue: &mut dyn PortQueue, most: usize) -> Result<Burst, Error> {
        let result = queue.receive(most);
        self.calls.looks += 1;
        match &result {
            Ok(burst) if burst.is_empty() => {
                self.calls.empty += 1;
                let end = queue.ended().filter(|_| !self.ended);
                if let Some(end) = end {
                    self.ended = true;
                    self.tell(&format!("end: {end}"), std::iter::empty());
                }
            }
            Ok(burst) => {
                self.calls.received += burst.len() as u64;
                let lengths = (0..burst.len()).filter_map(|row| burst.bytes(row).map(<[u8]>::len));
                self.tell(&format!("rx {}:", burst.len()), lengths);
            }
            Err(error) => self.failed("rx", error),
        }
        result
    }

    fn transmit(
        &mut self,
        queue: &mut dyn PortQueue,
        burst: &mut Burst,
        rows: &[u16],
        deadline: Instant,
    ) -> Result<usize, Error> {
        let length = |&row: &u16| match usize::from(row) {
            row if row < burst.len() => burst.bytes(row).map_or(0, <[u8]>::len),
            _ => 0,
        };
        let lengths: Vec<usize> = rows.iter().map(length).collect();
        let result = queue.transmit(burst, rows, deadline);
        self.accepted("tx", &lengths, &result);
        result
    }

    fn send(&mut self, queue: &mut dyn PortQueue, frames: &[&[u8]], deadline: Instant) -> Result<usize, Error> {
        let lengths: Vec<usize> = frames.iter().map(|frame| frame.len()).collect();
        let result = queue.send(frames, deadline);
        self.accepted("send", &lengths, &result);
        result
    }

    fn flush(&mut self, queue: &mut dyn PortQueue, deadline: Instant) -> Result<u32, Error> {
        let result = queue.flush(deadline);
        match &result {
            Ok(left) => self.tell(&format!("flush: {left} left"), std::iter::empty()),
            Err(error) => self.failed("flush", error),
        }
        result
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let calls = &self.calls;
        let what = format!(
            "closed: {} looks, {} of them empty, {} packets received, {} accepted, {} errors",
            calls.looks, calls.empty, calls.received, calls.accepted, calls.errors
        );
        self.tell(&what, std::iter::empty());
        let _ = self.sink.lock().unwrap_or_else(PoisonError::into_inner).flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::around::Wrapped;
    use crate::ports::memory::Memory;
    use crate::ports::null::Null;

    const MEMORY: Memory = Memory {
        frames: 16,
        frame_size: 2048,
        ring: 16,
    };

    #[test]
    fn each_call_has_its_line() {
        let record: Arc<Mutex<Vec<u8>>> = Arc::default();
        let templates: Vec<Box<[u8]>> = vec![[1; 60].into(), [2; 70].into()];
        let null = Null::open(&templates, false, MEMORY).unwrap();
        let tracer = Tracer::new(3, Arc::clone(&record) as Sink);
        let mut port = Wrapped::new(tracer, Box::new(null));
        let mut burst = port.receive(256).unwrap();
        assert_eq!(port.transmit(&mut burst, &[1], Instant::now()), Ok(1));
        assert!(port.transmit(&mut burst, &[9], Instant::now()).is_err());
        assert_eq!(port.send(&[&[0; 64]], Instant::now()), Ok(1));
        assert_eq!(port.flush(Instant::now()), Ok(0));
        (0..3).for_each(|_| assert!(port.receive(256).unwrap().is_empty()));
        drop(port);
        let text = String::from_utf8(record.lock().unwrap().clone()).unwrap();
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                "queue 3 rx 2: 60 70",
                "queue 3 tx 1/1: 70",
                "queue 3 tx: error: packet 9 was sent already",
                "queue 3 send 1/1: 64",
                "queue 3 flush: 0 left",
                "queue 3 end: all packets have arrived",
                "queue 3 closed: 4 looks, 3 of them empty, 2 packets received, 2 accepted, 1 errors",
            ]
        );
    }
}
