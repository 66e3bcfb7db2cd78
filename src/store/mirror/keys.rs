//! A set of memories.

/// Keys beyond this have no place in a set: it would take more than 256 MB.
const KEY_MAX: i64 = 1 << 31;

/// A set of memories' keys, one bit a key.
#[derive(Debug, Default)]
pub(in crate::store) struct Keys {
    words: Vec<u64>,
    len: usize,
}

impl Keys {
    /// The set of these; `None` if one of them has no place in a set.
    pub(in crate::store) fn of(keys: &[i64]) -> Option<Self> {
        let mut set = Self::default();
        for key in keys {
            let at = usize::try_from(*key).ok().filter(|_| *key < KEY_MAX)?;
            let (word, bit) = (at / 64, 1 << (at % 64));
            if set.words.len() <= word {
                set.words.resize(word + 1, 0);
            }
            let word = set.words.get_mut(word)?;
            set.len += usize::from(*word & bit == 0);
            *word |= bit;
        }
        Some(set)
    }

    /// Whether `key` is one of them.
    pub(in crate::store) fn contains(&self, key: i64) -> bool {
        let Ok(at) = usize::try_from(key) else { return false };
        self.words.get(at / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    /// How many there are.
    pub(in crate::store) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_it_was_made_of() {
        let keys = [0, 1, 63, 64, 65, 1000, 64];
        let set = Keys::of(&keys).unwrap();
        assert_eq!(set.len(), 6);
        for key in -5..2000 {
            assert_eq!(set.contains(key), keys.contains(&key), "{key}");
        }
        assert!(!set.contains(i64::MIN) && !set.contains(i64::MAX));
        assert!(Keys::of(&[3, -1]).is_none());
        assert!(Keys::of(&[KEY_MAX]).is_none());
        assert_eq!(Keys::of(&[]).unwrap().len(), 0);
    }
}
