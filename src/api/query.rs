//! Query strings.

use super::error::ApiError;
use super::percent;

/// The names and values of a query string.
///
/// # Errors
/// One of them is no UTF-8.
pub(super) fn query_pairs(query: &str) -> Result<Vec<(String, String)>, ApiError> {
    let decode = |part: &str| {
        percent::decode(&part.replace('+', " ")).ok_or_else(|| {
            ApiError::bad_parameter(format!("the parameter {part:?} is not valid UTF-8"))
        })
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(key)?, decode(value)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_strings_are_decoded() {
        assert!(query_pairs("tag=%FF").is_err(), "no UTF-8");
        let pairs = query_pairs("tag=a%20b&tag=c+d&after=2026-01-01&x&y=%zz%f").unwrap();
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(
            pairs,
            [
                pair("tag", "a b"),
                pair("tag", "c d"),
                pair("after", "2026-01-01"),
                pair("x", ""),
                pair("y", "%zz%f"),
            ]
        );
    }
}
