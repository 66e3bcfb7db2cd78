//! What this device asked of the account today: requests, rows and neurons, for `status`; and what the
//! free plan has of them.

use super::error::Product;
use crate::clock::Micros;

const DAY_MICROS: i64 = 86_400_000_000;
/// Neurons that Workers AI counts for a million tokens of `@cf/baai/bge-base-en-v1.5`.
const NEURONS_PER_MILLION_TOKENS: u64 = 6058;
/// Bytes of English text that make about one token.
const BYTES_PER_TOKEN: u64 = 4;

/// What a plan has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Rows that D1 may read in one UTC day.
    pub rows_read_per_day: u64,
    /// Rows that D1 may write in one UTC day.
    pub rows_written_per_day: u64,
    /// Neurons of Workers AI in one UTC day.
    pub neurons_per_day: u64,
    /// Components that all vectors of the account together may have.
    pub vector_dimensions: u64,
}

/// The free plan, by the price lists of D1, Workers AI and Vectorize. Beyond the first three the product
/// refuses until midnight, UTC. All of them count for the whole account, other devices included.
pub const FREE: Plan = Plan {
    rows_read_per_day: 5_000_000,
    rows_written_per_day: 100_000,
    neurons_per_day: 10_000,
    vector_dimensions: 5_000_000,
};

/// Counts of one UTC day, as far as this device caused them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Days since the Unix epoch.
    pub day: i64,
    /// Requests by product, in the order of [`Product::ALL`].
    pub requests: [u64; 5],
    /// Rows that D1 says it has written.
    pub rows_written: u64,
    /// Rows that D1 says it has read.
    pub rows_read: u64,
    /// Bytes of text that Workers AI has embedded.
    pub embedded_bytes: u64,
}

impl Usage {
    /// Starts a new day if one has begun.
    pub fn turn(&mut self, now: Micros) {
        let day = now.0.div_euclid(DAY_MICROS);
        if day != self.day {
            *self = Self { day, ..Self::default() };
        }
    }

    /// Counts one request.
    pub fn count_request(&mut self, product: Product) {
        for (count, of) in self.requests.iter_mut().zip(Product::ALL) {
            if of == product {
                *count += 1;
            }
        }
    }

    /// Requests to one product.
    pub fn requests_to(&self, product: Product) -> u64 {
        let counted = self.requests.iter().zip(Product::ALL);
        counted.filter(|(_, of)| *of == product).map(|(count, _)| *count).sum()
    }

    /// About how many neurons the embedded texts cost.
    pub fn neurons(&self) -> u64 {
        let tokens = self.embedded_bytes.div_ceil(BYTES_PER_TOKEN);
        tokens.saturating_mul(NEURONS_PER_MILLION_TOKENS).div_ceil(1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_of_one_day() {
        let mut usage = Usage::default();
        usage.turn(Micros(DAY_MICROS * 3 + 5));
        usage.count_request(Product::R2);
        usage.count_request(Product::R2);
        usage.count_request(Product::D1);
        usage.turn(Micros(DAY_MICROS * 4 - 1));
        assert_eq!((usage.requests_to(Product::R2), usage.requests_to(Product::D1)), (2, 1));
        usage.turn(Micros(DAY_MICROS * 4));
        assert_eq!(usage, Usage { day: 4, ..Usage::default() });
    }

    #[test]
    fn neurons_follow_the_price_list() {
        let usage = Usage { embedded_bytes: 4_000_000, ..Usage::default() };
        assert_eq!(usage.neurons(), 6058);
    }
}
