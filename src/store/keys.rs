//! A set of memories.

/// Keys beyond this have no place in a set: it would take more than 256 MB.
const KEY_MAX: usize = 1 << 31;

/// A set of memories' keys, one bit a key.
#[derive(Debug, Default)]
pub(super) struct Keys {
    words: Vec<u64>,
    len: usize,
}

impl Keys {
    /// The set of these; `None` if one of them has no place in a set.
    pub(super) fn of(keys: &[i64]) -> Option<Self> {
        let mut set = Self::default();
        for key in keys {
            set.insert(usize::try_from(*key).ok().filter(|at| *at < KEY_MAX)?);
        }
        Some(set)
    }

    pub(super) fn insert(&mut self, key: usize) {
        let (word, bit) = (key / 64, 1 << (key % 64));
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            self.len += usize::from(*word & bit == 0);
            *word |= bit;
        }
    }

    /// Whether `key` is one of them.
    pub(super) fn contains(&self, key: i64) -> bool {
        let Ok(at) = usize::try_from(key) else { return false };
        self.words.get(at / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The bits of the keys from `64 * word` on.
    pub(super) fn words_from(&self, word: usize) -> &[u64] {
        self.words.get(word..).unwrap_or_default()
    }

    /// All of them, in order.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = i64> {
        let bits = |(word, bits): (i64, &u64)| {
            let bits = *bits;
            (0..64).filter(move |bit| bits & (1 << bit) != 0).map(move |bit| word * 64 + bit)
        };
        (0..).zip(&self.words).flat_map(bits)
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
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 1, 63, 64, 65, 1000]);
        assert_eq!(set.words_from(1).first(), Some(&3));
        assert_eq!(set.words_from(100), [0_u64; 0]);
        assert!(!set.contains(i64::MIN) && !set.contains(i64::MAX));
        assert!(Keys::of(&[3, -1]).is_none());
        assert!(Keys::of(&[1 << 31]).is_none());
        assert_eq!(Keys::of(&[]).unwrap().len(), 0);
    }
}
