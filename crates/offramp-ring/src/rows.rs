// SPDX-License-Identifier: Apache-2.0
//! What is asked of several packets of a burst at once. Each function panics if there is no such row.

use crate::burst::Burst;

impl Burst {
    /// The bytes of the packets at `rows`, or `None` if one of them was sent.
    #[must_use]
    pub fn frames(&self, rows: &[u16]) -> Option<Vec<&[u8]>> {
        rows.iter().map(|&row| self.bytes(row.into())).collect()
    }

    /// The lengths on the wire of the packets at `rows`, or `None` if one of them was sent.
    #[must_use]
    pub fn wire_lengths(&self, rows: &[u16]) -> Option<Vec<u32>> {
        rows.iter().map(|&row| self.wire_length(row.into())).collect()
    }

    /// When the packets at `rows` arrived, in nanoseconds since 1970; the burst's `time` where the port does not know.
    /// `None` if one of them was sent.
    #[must_use]
    pub fn timestamps(&self, rows: &[u16]) -> Option<Box<[u64]>> {
        let time = |row| {
            self.bytes(row)?; // checks that it was not sent
            Some(self.timestamp(row).unwrap_or(self.time))
        };
        rows.iter().map(|&row| time(row.into())).collect()
    }

    /// Changes the packets at `rows`, all of them or none. False: one of them was sent, or a view of it exists.
    #[must_use]
    pub fn change(&mut self, rows: &[u16], mut change: impl FnMut(&mut [u8])) -> bool {
        if rows.iter().any(|&row| self.bytes_mut(row.into()).is_none()) {
            return false;
        }
        for &row in rows {
            self.bytes_mut(row.into()).map(&mut change);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use crate::far::tests::near_and_far;

    #[test]
    fn all_that_are_asked_for_or_nothing() {
        let (mut queue, mut far) = near_and_far(8, 8);
        queue.refill();
        assert!(far.arrivals.copy(&[7; 60], Some(99)) && far.arrivals.copy(&[8; 4000], None));
        assert!(far.arrivals.copy(&[9; 60], None));
        let mut burst = queue.receive(3).unwrap();
        burst.time = 5;
        assert_eq!(burst.frames(&[2, 0]).unwrap(), [[9; 60], [7; 60]]);
        assert_eq!(burst.wire_lengths(&[0, 1]).unwrap(), [60, 4000]);
        assert_eq!(*burst.timestamps(&[1, 0]).unwrap(), [5, 99]);
        let view = burst.share(0);
        assert!(!burst.change(&[2, 0], |bytes| bytes.fill(1)), "a view of one exists");
        assert_eq!(burst.bytes(2).unwrap(), [9; 60], "none was changed");
        drop(view);
        assert!(burst.change(&[2, 0], |bytes| bytes.fill(1)));
        assert_eq!(burst.frames(&[0, 2]).unwrap(), [[1; 60]; 2]);
        let _sent = burst.take(1);
        assert!(burst.frames(&[0, 1]).is_none() && burst.wire_lengths(&[1]).is_none());
        assert!(burst.timestamps(&[1, 2]).is_none() && !burst.change(&[0, 1], |_| ()));
    }
}
