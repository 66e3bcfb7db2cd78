//! Orders of what was found: the three modes of the product, and others that are made of its answers.

use crate::api::wire::HitJson;
use std::collections::BTreeMap;

/// What a place in a list is added to before it divides: the usual constant of reciprocal rank fusion.
const FUSION_K: f64 = 60.0;
/// Shares of the cosine that are tried beside the product's own, which is among them to show that the
/// answers tell enough.
pub const SHARES: [f64; 6] = [0.5, 0.6, 0.7, 0.75, 0.8, 0.9];

/// An order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ranking {
    /// The product's mode `hybrid`.
    Hybrid,
    /// The product's mode `semantic`.
    Semantic,
    /// The product's mode `keyword`.
    Keyword,
    /// Reciprocal rank fusion of `semantic` and `keyword`.
    Fused,
    /// Cosine with 0.7 and BM25, divided by the largest, with 0.3.
    Relative,
    /// Cosine with this share and the words' share with the rest.
    Blended(f64),
}

impl Ranking {
    /// All of them, in the order of the table.
    pub fn all() -> Vec<Self> {
        let product = [Self::Hybrid, Self::Semantic, Self::Keyword, Self::Fused, Self::Relative];
        product.into_iter().chain(SHARES.map(Self::Blended)).collect()
    }

    /// Its name in the table.
    pub fn name(self) -> String {
        match self {
            Self::Hybrid => "hybrid".to_owned(),
            Self::Semantic => "semantic".to_owned(),
            Self::Keyword => "keyword".to_owned(),
            Self::Fused => "fusion".to_owned(),
            Self::Relative => "largest".to_owned(),
            Self::Blended(share) => format!("{share:.2} / {:.2}", 1.0 - share),
        }
    }
}

/// A found memory with what speaks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its id, or its label.
    pub id: String,
    /// Cosine of the best window.
    pub cosine: Option<f64>,
    /// BM25 of the words.
    pub bm25: Option<f64>,
    /// The same as a share of what it could be.
    pub words: Option<f64>,
}

impl From<HitJson> for Found {
    fn from(hit: HitJson) -> Self {
        Self { id: hit.memory.id, cosine: hit.why.cosine, bm25: hit.why.bm25, words: hit.why.words }
    }
}

/// Reciprocal rank fusion: each list gives `1 / (60 + place)`, counted from 1. Of equals the one comes
/// first that an earlier list names first.
pub fn fused(lists: &[&[Found]]) -> Vec<String> {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    let mut order: Vec<&str> = Vec::new();
    for list in lists {
        let mut place = FUSION_K;
        for found in *list {
            place += 1.0;
            let sum = sums.entry(&found.id).or_insert_with(|| {
                order.push(&found.id);
                0.0
            });
            *sum += 1.0 / place;
        }
    }
    let sum = |id: &str| sums.get(id).copied().unwrap_or_default();
    order.sort_by(|a, b| sum(b).total_cmp(&sum(a)));
    order.into_iter().map(str::to_owned).collect()
}

/// Orders by `0.7 × cosine + 0.3 × bm25 / max(bm25)`.
pub fn relative(found: &[Found]) -> Vec<String> {
    let best = found.iter().filter_map(|found| found.bm25).fold(f64::MIN_POSITIVE, f64::max);
    by_blend(found, 0.7, |found| found.bm25.map_or(0.0, |bm25| bm25 / best))
}

/// Orders by `share × cosine + (1 - share) × words`.
pub fn blended(found: &[Found], share: f64) -> Vec<String> {
    by_blend(found, share, |found| found.words.unwrap_or(0.0))
}

/// Without a cosine the words count alone, as in the product. Equals stay as they came.
fn by_blend(found: &[Found], share: f64, words: impl Fn(&Found) -> f64) -> Vec<String> {
    let score = |found: &Found| {
        let words = words(found);
        found.cosine.map_or(words, |cosine| share * cosine.max(0.0) + (1.0 - share) * words)
    };
    let mut order: Vec<&Found> = found.iter().collect();
    order.sort_by(|a, b| score(b).total_cmp(&score(a)));
    order.into_iter().map(|found| found.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(id: &str, cosine: Option<f64>, bm25: Option<f64>) -> Found {
        Found { id: id.to_owned(), cosine, bm25, words: bm25.map(|bm25| bm25 / 4.0) }
    }

    fn list(ids: &[&str]) -> Vec<Found> {
        ids.iter().map(|id| found(id, None, None)).collect()
    }

    #[test]
    fn fusion_prefers_what_both_lists_have() {
        // c: 1/63 + 1/61; a: 1/61; d: 1/62; b: 1/62, named by the first list.
        assert_eq!(fused(&[&list(&["a", "b", "c"]), &list(&["c", "d"])]), ["c", "a", "b", "d"]);
        // Two second places are more than a first and a fifth: 2/62 > 1/61 + 1/65.
        let (one, two) = (list(&["a", "b"]), list(&["x", "b", "y", "z", "a"]));
        assert_eq!(fused(&[&one, &two])[..2], ["b", "a"]);
        assert_eq!(fused(&[&[], &list(&["q"])]), ["q"]);
        assert_eq!(fused(&[]), Vec::<String>::new());
    }

    #[test]
    fn a_blend_weighs_both_sides_by_its_share() {
        let hits = [
            found("meaning", Some(0.8), None),
            found("words", Some(0.2), Some(4.0)),
            found("both", Some(0.5), Some(2.0)),
        ];
        // At 0.9: 0.72, 0.28, 0.5. At 0.5: 0.4, 0.6, 0.5.
        assert_eq!(blended(&hits, 0.9), ["meaning", "both", "words"]);
        assert_eq!(blended(&hits, 0.5), ["words", "both", "meaning"]);
    }

    #[test]
    fn a_blend_takes_words_alone_without_a_vector_and_no_opposite_below_nothing() {
        let hits = [found("new", None, Some(4.0)), found("old", Some(0.9), Some(1.0))];
        assert_eq!(blended(&hits, 0.7), ["new", "old"]);
        let hits = [found("opposite", Some(-0.5), Some(1.0)), found("none", Some(0.0), None)];
        assert_eq!(blended(&hits, 0.7), ["opposite", "none"]);
        assert_eq!(blended(&hits[1..], 0.7), ["none"], "no words at all");
    }

    #[test]
    fn the_largest_bm25_counts_in_full_however_little_it_is() {
        let hits = [found("meaning", Some(0.5), None), found("words", Some(0.2), Some(0.1))];
        assert_eq!(relative(&hits), ["words", "meaning"]);
        assert_eq!(blended(&hits, 0.7), ["meaning", "words"]);
        assert_eq!(relative(&hits[..1]), ["meaning"], "no words at all");
    }

    #[test]
    fn rankings_have_names_of_their_own() {
        let names: std::collections::BTreeSet<String> =
            Ranking::all().into_iter().map(Ranking::name).collect();
        assert_eq!(names.len(), 5 + SHARES.len());
        assert!(names.contains("0.70 / 0.30"), "{names:?}");
    }
}
