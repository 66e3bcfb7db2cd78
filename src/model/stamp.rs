//! The order of changes across devices: a hybrid logical clock whose text sorts as it counts.

use std::fmt;
use std::str::FromStr;

/// A device's number in stamps. 0 stands for writers that have none: the Python service and imports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DeviceId(pub u32);

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// When and where a register was written: 12 hex digits of milliseconds, 4 of a counter, 8 of the
/// device. It is text everywhere outside this type, because JSON rounds integers above 2^53.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp {
    /// Milliseconds since the Unix epoch, below 2^48.
    pub ms: u64,
    /// Distinguishes stamps of one millisecond.
    pub counter: u16,
    /// Who wrote.
    pub device: DeviceId,
}

impl Stamp {
    /// The last millisecond that a stamp can tell.
    pub const MS_MAX: u64 = (1 << 48) - 1;

    /// Number of characters of the text form.
    pub const TEXT_LEN: usize = 24;

    /// The smallest stamp that a device may give now: later than `now_ms`, than its own last stamp
    /// and than every stamp it has seen in the row it writes. An edit therefore beats every version
    /// its author had seen, whatever the clocks say.
    pub fn next(now_ms: u64, device: DeviceId, last_own: Self, seen_in_row: Self) -> Self {
        let floor = last_own.max(seen_in_row);
        let now_ms = now_ms.min(Self::MS_MAX);
        if now_ms > floor.ms {
            return Self { ms: now_ms, counter: 0, device };
        }
        match floor.counter.checked_add(1) {
            Some(counter) => Self { ms: floor.ms, counter, device },
            None => Self { ms: (floor.ms + 1).min(Self::MS_MAX), counter: 0, device },
        }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}{:04x}{}", self.ms, self.counter, self.device)
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a stamp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a stamp is 24 lower-case hex digits, this is {0:?}")]
pub struct BadStamp(pub String);

impl FromStr for Stamp {
    type Err = BadStamp;

    fn from_str(text: &str) -> Result<Self, BadStamp> {
        let bad = || BadStamp(text.chars().take(40).collect());
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != Self::TEXT_LEN || !text.bytes().all(is_hex) {
            return Err(bad());
        }
        let part = |from: usize, to: usize| {
            text.get(from..to).and_then(|t| u64::from_str_radix(t, 16).ok()).ok_or_else(bad)
        };
        Ok(Self {
            ms: part(0, 12)?,
            counter: u16::try_from(part(12, 16)?).map_err(|_| bad())?,
            device: DeviceId(u32::try_from(part(16, 24)?).map_err(|_| bad())?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_stamp() -> impl Strategy<Value = Stamp> {
        (0..=Stamp::MS_MAX, any::<u16>(), any::<u32>()).prop_map(|(ms, counter, device)| Stamp {
            ms,
            counter,
            device: DeviceId(device),
        })
    }

    proptest! {
        #[test]
        fn text_sorts_as_the_stamp_does(a in any_stamp(), b in any_stamp()) {
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
            prop_assert_eq!(a.to_string().parse(), Ok(a));
        }

        #[test]
        fn the_next_stamp_beats_all_it_has_seen(
            now in 0..Stamp::MS_MAX - 1, own in any_stamp(), row in any_stamp(), device in any::<u32>(),
        ) {
            prop_assume!(own.max(row).ms < Stamp::MS_MAX);
            let next = Stamp::next(now, DeviceId(device), own, row);
            prop_assert!(next > own && next > row && next.ms >= now);
        }
    }

    #[test]
    fn rubbish_is_refused() {
        for text in [
            "",
            "12",
            "0000000000000000000000zz",
            "00000000000A000000000000",
            "é00000000000000000000000",
        ] {
            assert!(text.parse::<Stamp>().is_err(), "{text}");
        }
    }
}
